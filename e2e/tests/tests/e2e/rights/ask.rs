//! Questions to the API server about rights, many at a time.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::{Api, PostParams};
use orrery_e2e_cluster::Cluster;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Questions under way at the same time.
const AT_ONCE: usize = 16;

/// A verb on a resource; a subresource stands behind a slash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Right {
    pub(super) group: String,
    pub(super) resource: String,
    pub(super) verb: String,
}

pub(super) fn right(group: &str, resource: &str, verb: &str) -> Right {
    Right { group: group.to_owned(), resource: resource.to_owned(), verb: verb.to_owned() }
}

/// Who asks, and what there is to ask about.
pub(super) struct Asker {
    client: kube::Client,
    /// Group and resource of all that is served.
    served: BTreeSet<(String, String)>,
}

impl Asker {
    pub(super) async fn new(cluster: &Cluster) -> Self {
        let client = cluster.client();
        let get = |path: String| {
            let client = client.clone();
            async move {
                let request = http::Request::get(path).body(Vec::new()).expect("an address");
                client.request::<Value>(request).await
            }
        };
        let groups = get("/apis".to_owned()).await.expect("groups");
        let mut paths = vec![(String::new(), "/api/v1".to_owned())];
        for group in groups["groups"].as_array().into_iter().flatten() {
            let name = group["name"].as_str().expect("a name").to_owned();
            for version in group["versions"].as_array().into_iter().flatten() {
                let version = version["groupVersion"].as_str().expect("a version");
                paths.push((name.clone(), format!("/apis/{version}")));
            }
        }
        let mut served = BTreeSet::new();
        for (group, path) in paths {
            // The kinds of a test that ends just now may go meanwhile.
            let Ok(list) = get(path).await else { continue };
            let resources = list["resources"].as_array().into_iter().flatten();
            let names = resources.filter_map(|resource| resource["name"].as_str());
            served.extend(names.map(|name| (group.clone(), name.to_owned())));
        }
        assert!(served.len() > 100, "a whole API: {}", served.len());
        Self { client, served }
    }

    /// Each of these verbs on everything that is served.
    pub(super) fn every(&self, verbs: &[&str]) -> BTreeSet<Right> {
        let pairs = self.served.iter().flat_map(|of| verbs.iter().map(move |verb| (of, verb)));
        pairs.map(|((group, resource), verb)| right(group, resource, verb)).collect()
    }

    /// Those of `questions` that the server allows to `user`, in a namespace or in all of them.
    pub(super) async fn allowed(
        &self,
        user: &str,
        groups: &[String],
        namespace: Option<&str>,
        questions: BTreeSet<Right>,
    ) -> BTreeSet<Right> {
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let mut asked = JoinSet::new();
        for question in questions {
            let review = review(user, groups, namespace, &question);
            let (api, turns) = (api.clone(), Arc::clone(&turns));
            asked.spawn(async move {
                let _turn = turns.acquire().await.expect("it is never closed");
                let answer = api.create(&PostParams::default(), &review).await;
                let status = answer.expect("an answer").status.expect("it has a verdict");
                status.allowed.then_some(question)
            });
        }
        asked.join_all().await.into_iter().flatten().collect()
    }
}

fn review(
    user: &str,
    groups: &[String],
    namespace: Option<&str>,
    question: &Right,
) -> SubjectAccessReview {
    let (resource, subresource) = match question.resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (question.resource.as_str(), None),
    };
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(user.to_owned()),
            groups: Some(groups.to_vec()),
            resource_attributes: Some(ResourceAttributes {
                group: Some(question.group.clone()),
                resource: Some(resource.to_owned()),
                subresource,
                verb: Some(question.verb.clone()),
                namespace: namespace.map(str::to_owned),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}
