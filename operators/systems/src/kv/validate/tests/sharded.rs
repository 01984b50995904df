//! Groups, and several shards.

use orrery_api::kv::Layout;

use super::*;

#[test]
fn shards_are_spread_over_pods_and_their_ports_are_their_own() {
    let spec = |port: i32| {
        json!({"replicas": 3, "shardsPerPod": 2, "followers": 1,
               "resp": {"clusterMode": "Slots", "port": port}})
    };
    let config = check(spec(6379)).unwrap().config;
    assert_eq!(config.cluster, Some(Layout { shards: 6, pods: 3, copies: 2 }));
    let alone = json!({"shardsPerPod": 4, "followers": 2, "resp": {"clusterMode": "Slots"}});
    let layout = check(alone).unwrap().config.cluster;
    assert_eq!(layout, Some(Layout { shards: 4, pods: 3, copies: 3 }));
    assert_eq!(check(json!({"followers": 1})).unwrap().config.cluster, None);

    for port in [9394, 9399, 9402, 9407, 65_530] {
        let refusal = check(spec(port)).expect_err("the ports of shards meet others");
        assert_eq!(refusal.field.as_deref(), Some("spec.resp.port"), "{port}");
    }
    for port in [9393, 9408, 65_529] {
        check(spec(port)).expect("the ports are free");
    }
}

#[test]
fn a_group_has_the_pods_and_the_port_of_the_spec() {
    let spec = json!({"followers": 2, "synchronousFollowers": 1, "resp": {"port": 7000},
        "failover": {"policy": "AllowLoss", "primary": "default-kv-1"}});
    let validated = check(spec).unwrap();
    assert_eq!(validated.config().group, Some(true));
    let group = validated.groups("default").remove(0);
    assert_eq!(group.pods, ["default-kv-0", "default-kv-1", "default-kv-2"]);
    assert_eq!((group.followers, group.synchronous, group.client_port), (2, 1, 7000));
    assert_eq!(group.wished.as_deref(), Some("default-kv-1"));
    assert!(check(json!({})).unwrap().groups("default").is_empty());
}
