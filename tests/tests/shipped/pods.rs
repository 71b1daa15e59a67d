//! Every pod has the least rights with which it works.

use serde_json::{Value, json};

use crate::{
    jobs,
    rendered::{self, Rendered, command},
};

/// Every pod with where it is from.
fn pods() -> impl Iterator<Item = (String, &'static Rendered, &'static Value)> {
    rendered::all().iter().flat_map(|rendered| {
        rendered.jobs().map(move |(name, job)| (format!("{} {name}", rendered.name), rendered, &job["template"]["spec"]))
    })
}

#[test]
fn no_pod_has_more_rights_than_it_needs() {
    for (at, _, pod) in pods() {
        let expected = [
            ("/restartPolicy", json!("Never")),
            ("/automountServiceAccountToken", json!(false)),
            ("/enableServiceLinks", json!(false)),
            ("/securityContext/runAsNonRoot", json!(true)),
            ("/securityContext/runAsUser", json!(65532)),
            ("/securityContext/runAsGroup", json!(65532)),
            ("/securityContext/seccompProfile/type", json!("RuntimeDefault")),
            ("/containers/0/securityContext/allowPrivilegeEscalation", json!(false)),
            ("/containers/0/securityContext/readOnlyRootFilesystem", json!(true)),
            ("/containers/0/securityContext/capabilities", json!({ "drop": ["ALL"] })),
        ];
        for (pointer, value) in expected {
            assert_eq!(pod.pointer(pointer), Some(&value), "{at}{pointer}");
        }
        assert_eq!(pod["containers"].as_array().map(Vec::len), Some(1), "{at}: one container, or its rights are not looked at");
        for absent in ["initContainers", "ephemeralContainers", "hostNetwork", "hostPID", "hostIPC", "hostUsers"] {
            assert!(pod[absent].is_null(), "{at} has {absent}");
        }
        assert!(pod["containers"][0]["securityContext"]["privileged"].is_null(), "{at}");
        let resources = &pod["containers"][0]["resources"];
        for bound in ["/requests/cpu", "/requests/memory", "/limits/memory"] {
            assert!(resources.pointer(bound).is_some(), "{at} lacks {bound}");
        }
        let (image, tag) = pod["containers"][0]["image"].as_str().and_then(|image| image.rsplit_once(':')).expect("an image with a tag");
        assert!(image.contains('/') && tag == env!("CARGO_PKG_VERSION"), "{at}: {image}:{tag}");
    }
}

#[test]
fn every_command_is_one_that_its_job_takes() {
    let mut seen = 0;
    for (at, _, pod) in pods() {
        seen += 1;
        jobs::accepts(&command(pod)).unwrap_or_else(|error| panic!("{at}: {error}"));
        assert!(pod["containers"][0]["args"].is_null(), "{at}: all words stand in `command`");
    }
    assert!(seen > 30, "{seen}");
}

/// One ServiceAccount and one Secret for each purpose, both there, and the account without a token.
#[test]
fn every_purpose_has_its_own_account_and_secret() {
    let example = rendered::of("overlays/example");
    for (at, rendered, pod) in pods() {
        let purpose = match command(pod)[..] {
            ["pg-dump-to-sos", "--templates", ..] => "pg-dump-templates",
            ["retention-pruner", "mirror", ..] => "retention-pruner-mirror",
            [job, ..] => job,
            [] => panic!("{at}: no command"),
        };
        assert_eq!(pod["serviceAccountName"], purpose, "{at}");
        let volumes = pod["volumes"].as_array().expect("volumes");
        let secrets: Vec<&Value> = volumes.iter().map(|volume| &volume["secret"]).filter(|secret| !secret.is_null()).collect();
        // The mode keeps the file from everybody but the pod's own group.
        assert_eq!(secrets, [&json!({ "secretName": purpose, "defaultMode": 0o440 })], "{at}");
        // What a person starts stands beside an overlay.
        let there = if rendered.name == "on-demand" { example } else { rendered };
        let account = there.kind("ServiceAccount").find(|(name, _)| *name == purpose).unwrap_or_else(|| panic!("{at}: no account"));
        assert_eq!(account.1["automountServiceAccountToken"], false, "{at}");
        assert!(example.kind("Secret").any(|(name, _)| name == purpose), "{at}: no Secret");
        for (kind, pointer) in [("ConfigMap", "/configMap/name"), ("PersistentVolumeClaim", "/persistentVolumeClaim/claimName")] {
            for name in volumes.iter().filter_map(|volume| volume.pointer(pointer)?.as_str()) {
                assert!(there.kind(kind).any(|(found, _)| found == name), "{at}: there is no {kind} {name}");
            }
        }
    }
    assert!(
        rendered::all().iter().all(|rendered| rendered.objects.iter().all(|object| !object["kind"].as_str().unwrap().contains("Role")))
    );
}

/// The tenants' files are never written to, and the group that may read them is there wherever they are.
#[test]
fn the_file_store_is_read_only_and_readable() {
    let mut mounted = Vec::new();
    for (at, rendered, pod) in pods() {
        let mounts = pod["containers"][0]["volumeMounts"].as_array().expect("mounts");
        for mount in mounts {
            assert_eq!(mount["readOnly"] != true, mount["name"] == "state", "{at}: only the state is written to: {mount}");
        }
        if !mounts.iter().any(|mount| mount["name"] == "filestore") {
            continue;
        }
        let volumes = pod["volumes"].as_array().expect("volumes");
        let claim = &volumes.iter().find(|volume| volume["name"] == "filestore").expect("a volume")["persistentVolumeClaim"];
        assert_eq!(*claim, json!({ "claimName": "odoo-filestore", "readOnly": true }), "{at}");
        assert_eq!(pod["securityContext"]["supplementalGroups"], json!([101]), "{at}");
        mounted.push(format!("{} in {}", command(pod)[0], rendered.name));
    }
    assert!(mounted.iter().any(|job| job.starts_with("insurance-snapshot")) && mounted.len() >= 7, "{mounted:?}");
    for overlay in ["overlays/example", "overlays/plana"] {
        let (_, volume) = rendered::of(overlay).kind("PersistentVolume").next().expect("a volume");
        assert_eq!(
            (&volume["spec"]["accessModes"], &volume["spec"]["nfs"]["readOnly"]),
            (&json!(["ReadOnlyMany"]), &json!(true)),
            "{overlay}"
        );
    }
}
