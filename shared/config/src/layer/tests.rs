use super::*;
use crate::check::check;

fn path(dotted: &str) -> Vec<String> {
    dotted.split('.').map(str::to_owned).collect()
}

fn from_environment(variables: &[(&str, &str)]) -> (Layer, Vec<Problem>) {
    Layer::from_environment(&variables.iter().copied().collect())
}

#[test]
fn every_key_knows_its_line() {
    let text = "state_dir = \"/x\"\n\n[store.backups]\nurl = \"s3://bucket\" # here\nregion = \"é\"\n[rules]\nt = { order = 1,\n  class = \"tenant\" }\n\
                retention.windows.starter = \"1d\"\n[[list]]\n";
    // TOML forbids line breaks in an inline table: one line then.
    let text = text.replace(",\n  class", ", class");
    let layer = Layer::from_toml("f.toml", &text).expect("TOML");
    for (key, line) in [("state_dir", 1), ("store.backups", 3), ("store.backups.url", 4), ("store.backups.region", 5), ("rules.t.class", 7)]
    {
        assert_eq!(layer.place(&path(key)), format!("f.toml:{line}"), "{key}");
    }
    assert_eq!(layer.place(&path("rules.retention.windows.starter")), "f.toml:8");
    // What is not written out stands where its table does.
    assert_eq!(layer.place(&path("store.backups.endpoint")), "f.toml:3");
    assert_eq!(layer.place(&path("dump.jobs")), "f.toml");
}

#[test]
fn syntax_errors_have_line_and_column_and_no_content() {
    for (text, place) in [
        ("a = 1\nsecret_access_key = \"hunter2\n", "f.toml:2:"),
        ("a = hunter2\n", "f.toml:1:5"),
        ("[s]\npassword = \"é\" hunter2\n", "f.toml:2:"),
        ("a = 1\na = \"hunter2\"\n", "f.toml:2:1"),
    ] {
        let problem = Layer::from_toml("f.toml", text).err().unwrap_or_else(|| panic!("{text} was read"));
        assert!(problem.place.starts_with(place) && !problem.to_string().contains("hunter2"), "{problem}");
    }
}

#[test]
fn variables_become_what_the_schema_wants() {
    let (layer, problems) = from_environment(&[
        ("PLANA_JOBS__STATE_DIR", "12345"),
        ("PLANA_JOBS__DUMP__CLUSTER_NAME", "00123"),
        ("PLANA_JOBS__DUMP__JOBS", " 4 "),
        ("PLANA_JOBS__DUMP__GLOBALS", "false"),
        ("PLANA_JOBS__EVENTS__PASSWORD", "true"),
        ("PLANA_JOBS__EVENTS__STREAM", ""),
        ("PLANA_JOBS__DUMP__EXCLUDE", "a, b"),
        ("PLANA_JOBS__POSTGRES__BIN_DIRS", "[/a, 7]"),
        ("PLANA_JOBS__ENCRYPTION__RECIPIENTS", "[\"age1x\", \"age1y\"]"),
        ("PLANA_JOBS__TIERS__STATIC", "{ \"acme.planapulse.app\" = \"pro\" }"),
        ("PLANA_JOBS__TIERS__STATIC__BETA", "starter"),
        ("PLANA_JOBS_DUMP__JOBS", "9"),
        ("PATH", "/bin"),
    ]);
    assert!(problems.is_empty() && check(&layer).is_empty(), "{problems:?}");
    let at = |key: &str| path(key).iter().fold(Value::from(layer.tree.clone()), |value, key| value.find(key).expect("a key"));
    let texts = |key: &str| at(key).deserialize::<Vec<String>>().expect("a list of texts");
    assert_eq!(at("state_dir").as_str(), Some("12345"));
    assert_eq!(at("dump.cluster_name").as_str(), Some("00123"));
    assert_eq!(at("dump.jobs").to_u128(), Some(4));
    assert_eq!(at("dump.globals").to_bool(), Some(false));
    assert_eq!(at("events.password").as_str(), Some("true"));
    assert_eq!(texts("dump.exclude"), ["a", "b"]);
    assert_eq!(texts("postgres.bin_dirs"), ["/a", "7"]);
    assert_eq!(texts("encryption.recipients"), ["age1x", "age1y"]);
    let Some(Value::Dict(_, tiers)) = at("tiers").find("static") else { panic!("no table") };
    assert_eq!(tiers.keys().collect::<Vec<_>>(), ["acme.planapulse.app", "beta"]);
    // An empty variable counts as not set.
    assert!(!layer.places.contains_key(&path("events.stream")));
    assert_eq!(layer.place(&path("dump.jobs")), "environment variable PLANA_JOBS__DUMP__JOBS");
}

#[test]
fn a_list_in_toml_keeps_commas_and_a_plain_one_splits_at_each() {
    let list = |text| text::typed(text, Kind::List).and_then(|value| value.deserialize::<Vec<String>>().ok()).expect("a list");
    assert_eq!(list("[\"{a,b}\", 'c']"), ["{a,b}", "c"]);
    assert_eq!(list("a"), ["a"]);
    assert_eq!(list("a,,b, "), ["a", "b"]);
    // Nothing can smuggle in a second key.
    assert_eq!(list("[\"a\"]\nother = 1"), ["[\"a\"]\nother = 1"]);
}

#[test]
fn variables_that_name_no_key_are_problems() {
    for (name, value, what) in [
        ("PLANA_JOBS__", "x", "names no key"),
        ("PLANA_JOBS__DUMP____JOBS", "1", "names no key"),
        ("PLANA_JOBS__DUMP", "4", "is a table"),
        ("PLANA_JOBS__RULES__TENANTS", "x", "is a table"),
    ] {
        let (_, problems) = from_environment(&[(name, value)]);
        assert!(problems.len() == 1 && problems[0].place.ends_with(name) && problems[0].what.contains(what), "{name}: {problems:?}");
    }
    use std::os::unix::ffi::OsStringExt;
    let env: Environment = [("PLANA_JOBS__STATE_DIR", std::ffi::OsString::from_vec(vec![0xff]))].into_iter().collect();
    let (_, problems) = Layer::from_environment(&env);
    assert_eq!(problems[0].what, "its value is not UTF-8");
}
