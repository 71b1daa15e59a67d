//! What the pods may reach.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::rendered::{self, Rendered, command};

/// Whether a selector of labels means these.
fn selects(selector: &Value, labels: &Value) -> bool {
    assert!(selector["matchExpressions"].is_null());
    selector["matchLabels"].as_object().is_none_or(|wanted| wanted.iter().all(|(name, value)| labels[name] == *value))
}

/// The policies that hold for a pod with these labels.
fn policies<'a>(rendered: &'a Rendered, labels: &'a Value) -> impl Iterator<Item = (&'a str, &'a Value)> {
    rendered.kind("NetworkPolicy").map(|(name, policy)| (name, &policy["spec"])).filter(|(_, spec)| selects(&spec["podSelector"], labels))
}

fn ports<'a>(specs: impl Iterator<Item = &'a Value>) -> BTreeSet<u64> {
    let rules = specs.flat_map(|spec| spec["egress"].as_array().into_iter().flatten());
    rules
        .flat_map(|rule| {
            assert!(rule["to"].as_array().is_some_and(|to| !to.is_empty()), "a rule without `to` allows everything: {rule}");
            rule["ports"]
                .as_array()
                .expect("a rule without ports allows all of them")
                .iter()
                .map(|port| port["port"].as_u64().expect("a number"))
        })
        .collect()
}

#[test]
fn pods_reach_names_store_redis_and_their_server_and_nothing_else() {
    for rendered in rendered::all().iter().filter(|rendered| rendered.name.starts_with("overlays/")) {
        // What a person starts runs in the same namespace.
        let pods = rendered.jobs().chain(rendered::of("on-demand").jobs()).map(|(name, job)| (name, &job["template"]));
        for (name, template) in pods {
            let (at, labels) = (format!("{} {name}", rendered.name), &template["metadata"]["labels"]);
            let found: Vec<(&str, &Value)> = policies(rendered, labels).collect();
            assert!(
                found.iter().any(|(_, spec)| spec["policyTypes"] == json!(["Ingress", "Egress"])
                    && spec["egress"].is_null()
                    && spec["ingress"].is_null()),
                "{at}: what is not allowed must be denied"
            );
            assert!(found.iter().all(|(_, spec)| spec["ingress"].is_null()), "{at}: nothing reaches a job");
            let mut expected: BTreeSet<u64> = [53, 443, 6379].into();
            let words = command(&template["spec"]);
            let is_of_mirror = words.starts_with(&["retention-pruner", "mirror"]);
            if name != "restore-drill-filestore" && !is_of_mirror {
                expected.insert(5432);
            }
            if rendered.name != "overlays/example" {
                // Its configuration pushes metrics.
                expected.insert(9091);
            }
            assert_eq!(ports(found.iter().map(|(_, spec)| *spec)), expected, "{at}");
            // Drills restore where nothing else is: they never reach the server that is backed up.
            let own = found.iter().any(|(name, _)| *name == "postgresql");
            let needs = words[0] != "restore-from-sos" && !is_of_mirror;
            assert_eq!(own, needs || name == "restore-database", "{at}");
        }
    }
}

/// HTTPS goes to the store, which is public, and not into the cluster.
#[test]
fn the_store_is_no_way_into_the_private_networks() {
    let (_, policy) = rendered::of("overlays/example").kind("NetworkPolicy").find(|(name, _)| *name == "store").expect("a policy");
    let all = &policy["spec"]["egress"][0]["to"][0]["ipBlock"];
    for private in ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"] {
        assert!(all["except"].as_array().expect("exceptions").contains(&json!(private)), "{private}");
    }
}
