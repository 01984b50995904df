//! Where the shards of an object are: every process is told, so that it can send clients on.
//!
//! Must not: say that a pod takes writes which does not say so itself under the grant. A route that is
//! out of date costs a client one more hop; a process fences itself whatever the routes say.

use futures::future::join_all;
use orrery_operand::OperandError;
use orrery_operand::set_hash::route_request;
use orrery_operand::v1::{Node, ReportResponse, Role, RouteRequest, ShardRoute};
use tracing::warn;

use crate::context::Context;
use crate::group::carry::Plan;
use crate::observation::Observation;
use crate::step::report::Reached;
use crate::system::Identity;

/// The pods that have a shard, and the port it has in each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub shard: u32,
    /// By name; the shard is at home in the first.
    pub pods: Vec<String>,
    /// Port for clients.
    pub port: u16,
    /// What follows the name of a pod in its host name, where clients are to know it by that; otherwise
    /// they are told its address.
    pub domain: Option<String>,
}

/// The routes of an object. `address` is where clients reach a port of a pod, if it has an address.
pub fn routes(
    places: &[Place],
    plans: &[Plan],
    seen: &Observation,
    address: impl Fn(&str, u16) -> Option<String>,
) -> RouteRequest {
    let shards = places.iter().map(|place| {
        let said = |pod: &str| {
            let view = seen.pods.iter().find(|view| view.name == pod)?;
            view.report.as_ref()?.of_shard(place.shard)
        };
        let node = |pod: &str| {
            let address = match &place.domain {
                Some(domain) => format!("{pod}.{domain}:{}", place.port),
                None => address(pod, place.port)?,
            };
            Some(Node { name: pod.to_owned(), address })
        };
        let plan = plans.iter().find(|plan| plan.group.shard == place.shard);
        // Without a group nobody else can ever be primary.
        let holder = plan.map_or(place.pods.first().map(String::as_str), Plan::holder);
        let epoch = plan.and_then(|plan| plan.grant.as_ref()).map_or(0, |grant| grant.epoch);
        let leads = |report: &ReportResponse| {
            report.role() == Role::Primary && (plan.is_none() || report.epoch == epoch)
        };
        let primary = holder.filter(|pod| said(pod).is_some_and(|report| leads(&report)));
        let follows = |pod: &&String| {
            holder != Some(pod.as_str())
                && said(pod).is_some_and(|report| report.role() == Role::Follower)
        };
        ShardRoute {
            id: place.shard,
            epoch,
            primary: primary.and_then(node),
            followers: place.pods.iter().filter(follows).filter_map(|pod| node(pod)).collect(),
        }
    });
    route_request(shards.collect())
}

/// Tells every process that knows other routes. True when all know them.
pub(crate) async fn tell(
    ctx: &Context,
    identity: &Identity,
    system: &str,
    places: &[Place],
    plans: &[Plan],
    seen: &Observation,
    reached: &[Reached],
) -> bool {
    if places.is_empty() {
        return true;
    }
    let cached = ctx.children.pods(&identity.namespace, system, &identity.name);
    let address = |pod: &str, port| cached.iter().find(|one| one.view.name == pod)?.address(port);
    let request = routes(places, plans, seen, address);
    let knows = |pod: &str| {
        seen.reports().any(|(name, report)| name == pod && report.routes_hash == request.hash)
    };
    let told = reached.iter().filter(|process| !knows(&process.pod)).map(|process| async {
        match process.client.route(request.clone()).await {
            // A process of a release that sends no clients elsewhere.
            Ok(_) | Err(OperandError::Unsupported(_)) => true,
            Err(error) => {
                warn!(pod = process.pod, %error, "failed to tell it where the shards are");
                false
            }
        }
    });
    join_all(told).await.into_iter().all(|told| told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::{Grant, Group};
    use crate::observation::PodView;
    use orrery_operand::v1::Shard;

    fn pod(name: &str, shards: &[(u32, Role, u64)]) -> PodView {
        let shards = shards.iter().map(|(id, role, epoch)| Shard {
            id: *id,
            role: (*role).into(),
            epoch: *epoch,
            ..Shard::default()
        });
        let report = ReportResponse { shards: shards.collect(), ..ReportResponse::default() };
        PodView { name: name.into(), report: Some(report), ..PodView::default() }
    }

    fn place(shard: u32, pods: &[&str]) -> Place {
        let pods = pods.iter().map(|pod| (*pod).to_owned()).collect();
        Place { shard, pods, port: 6379 + shard as u16, domain: None }
    }

    fn plan(place: &Place, holder: &str, epoch: u64) -> Plan {
        let pods: Vec<&str> = place.pods.iter().map(String::as_str).collect();
        let group = Group::of_pods(place.shard, &pods);
        let grant = Grant { holder: holder.into(), epoch, resource_version: "1".into() };
        Plan::new(group, Some(grant), true)
    }

    fn node(name: &str, port: u16) -> Node {
        Node { name: name.into(), address: format!("{name}:{port}") }
    }

    fn told(places: &[Place], plans: &[Plan], pods: Vec<PodView>) -> RouteRequest {
        let seen = Observation { pods, ..Observation::default() };
        routes(places, plans, &seen, |pod, port| Some(format!("{pod}:{port}")))
    }

    #[test]
    fn the_primary_is_who_holds_the_grant_and_says_so() {
        let places = [place(0, &["a-0", "a-1"]), place(1, &["a-1", "a-0"])];
        let plans = [plan(&places[0], "a-1", 4), plan(&places[1], "a-1", 2)];
        let (lead, follow) = (Role::Primary, Role::Follower);
        let pods = || {
            vec![
                pod("a-0", &[(0, follow, 4), (1, follow, 2)]),
                pod("a-1", &[(0, lead, 4), (1, lead, 2)]),
            ]
        };
        let routes = told(&places, &plans, pods());
        let of = |shard: usize| routes.shards[shard].clone();
        let (port, next) = (6379, 6380);
        assert_eq!((of(0).epoch, of(0).primary), (4, Some(node("a-1", port))));
        assert_eq!(of(0).followers, [node("a-0", port)], "not the home, which follows");
        assert_eq!((of(1).epoch, of(1).primary), (2, Some(node("a-1", next))));
        let again = told(&places, &plans, pods());
        assert_eq!(again.hash, routes.hash, "the same routes have the same hash");
        let mut before = pods();
        before[1] = pod("a-1", &[(0, lead, 3), (1, Role::Fenced, 2)]);
        let routes = told(&places, &plans, before);
        assert_eq!(routes.shards[0].primary, None, "promoted under an earlier epoch");
        assert_eq!(routes.shards[1].primary, None, "fenced");
        assert_ne!(again.hash, routes.hash);
    }

    #[test]
    fn a_shard_without_followers_is_at_home_or_nowhere() {
        let places = [place(3, &["a-1"])];
        let there = told(&places, &[], vec![pod("a-1", &[(3, Role::Primary, 9)])]);
        let shard = &there.shards[0];
        assert_eq!((shard.id, shard.epoch, shard.primary.clone()), (3, 0, Some(node("a-1", 6382))));
        for pods in [Vec::new(), vec![pod("a-1", &[])], vec![pod("a-1", &[(3, Role::Standby, 0)])]]
        {
            assert_eq!(told(&places, &[], pods).shards[0].primary, None);
        }
    }

    #[test]
    fn a_pod_is_known_by_its_name_where_clients_look_at_certificates() {
        let domain = Some("a-headless.shop.svc".to_owned());
        let places = [Place { domain, ..place(0, &["a-0"]) }];
        let pods = vec![pod("a-0", &[(0, Role::Primary, 1)])];
        let primary = told(&places, &[], pods).shards[0].primary.clone().expect("it leads");
        assert_eq!(primary.address, "a-0.a-headless.shop.svc:6379");
    }

    #[test]
    fn a_pod_without_an_address_is_not_named() {
        let places = [place(0, &["a-0"])];
        let pods = vec![pod("a-0", &[(0, Role::Primary, 1)])];
        let seen = Observation { pods, ..Observation::default() };
        assert_eq!(routes(&places, &[], &seen, |_, _| None).shards[0].primary, None);
    }
}
