//! The Kubernetes objects, as `kubectl kustomize` makes them and the schemas of the newest three minors take them.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use plana_testkit::cache::cached;
use serde_json::Value;

use crate::root;

/// The minors whose schemas are met.
const VERSIONS: [&str; 3] = ["1.35", "1.36", "1.37"];

/// What is rendered: a directory, and its objects.
pub struct Rendered {
    pub name: &'static str,
    pub objects: Vec<Value>,
}

/// Everything that can be applied.
pub fn all() -> &'static [Rendered] {
    static ALL: OnceLock<Vec<Rendered>> = OnceLock::new();
    ALL.get_or_init(|| {
        let names = ["overlays/example", "overlays/plana", "overlays/scale-out", "on-demand"];
        // Side by side: most of it is waiting for Python to read schemas.
        std::thread::scope(|scope| {
            let rendering =
                names.map(|name| (name, scope.spawn(move || objects(&kustomize(name)).unwrap_or_else(|error| panic!("{name}: {error}")))));
            rendering.into_iter().map(|(name, objects)| Rendered { name, objects: objects.join().expect("it renders") }).collect()
        })
    })
}

/// The one of that name.
#[track_caller]
pub fn of(name: &str) -> &'static Rendered {
    all().iter().find(|rendered| rendered.name == name).expect("it is rendered")
}

impl Rendered {
    /// The objects of a kind, with their names.
    pub fn kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let wanted = self.objects.iter().filter(move |object| object["kind"] == kind);
        wanted.map(|object| (object["metadata"]["name"].as_str().expect("a name"), object))
    }

    /// Every Job's spec with its name: those of CronJobs, and those that a person starts.
    pub fn jobs(&self) -> impl Iterator<Item = (&str, &Value)> {
        let scheduled = self.kind("CronJob").map(|(name, object)| (name, &object["spec"]["jobTemplate"]["spec"]));
        scheduled.chain(self.kind("Job").map(|(name, object)| (name, &object["spec"])))
    }
}

/// The words of a container's command.
pub fn command(pod: &Value) -> Vec<&str> {
    pod["containers"][0]["command"].as_array().expect("a command").iter().map(|word| word.as_str().expect("text")).collect()
}

fn kustomize(name: &str) -> String {
    let directory = root().join("k8s-cronjobs").join(name);
    let kubectl = cached("kubectl").expect("kubectl");
    let output = Command::new(kubectl).arg("kustomize").arg(directory).env_remove("KUBECONFIG").output().expect("kubectl starts");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The objects, or what the schemas have against them.
fn objects(yaml: &str) -> Result<Vec<Value>, String> {
    let script = root().join("tests/tests/shipped/validate.py");
    // Debian's own: the cache holds modules for it.
    let mut python = Command::new("/usr/bin/python3");
    python.arg("-B").arg(script).args(VERSIONS).env("PYTHONPATH", cached("kubernetes-validate").expect("kubernetes-validate"));
    let mut child = python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("Python starts");
    child.stdin.take().expect("a pipe").write_all(yaml.as_bytes()).expect("it reads");
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    if !status.success() {
        return Err(String::from_utf8_lossy(&stderr).into_owned());
    }
    serde_json::from_slice(&stdout).map_err(|error| error.to_string())
}

#[test]
fn every_object_meets_the_strict_schemas_of_three_minors() {
    let count: usize = all().iter().map(|rendered| rendered.objects.len()).sum();
    assert!(count >= 100, "only {count} objects were rendered");
}

/// Else the test above would be worth nothing.
#[test]
fn a_field_that_kubernetes_does_not_know_is_refused() {
    let good = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\nautomountServiceAccountToken: false\n";
    assert_eq!(objects(good).expect("it is good").len(), 1);
    for (bad, why) in [("automountServiceAccountTokens: false\n", "automountServiceAccountTokens"), ("secrets: no\n", "secrets")] {
        let error = objects(&format!("{good}{bad}")).unwrap_err();
        assert!(VERSIONS.iter().all(|version| error.contains(version)) && error.contains(why), "{error}");
    }
    assert!(objects("apiVersion: batch/v2\nkind: CronJob\nmetadata: {name: a}\n").is_err());
}
