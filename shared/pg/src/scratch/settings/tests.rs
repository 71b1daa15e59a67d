use proptest::prelude::*;

use super::*;

#[test]
fn values_are_quoted_and_lists_name_by_name() {
    for (setting, wanted) in [
        ("work_mem=64MB", "\"work_mem\" TO '64MB'"),
        ("plana.note=it's \\ a=b", "\"plana.note\" TO E'it''s \\\\ a=b'"),
        ("search_path=\"$user\", public,\"a \"\"b\"\", c\"", "\"search_path\" TO '$user', 'public', 'a \"b\", c'"),
        ("search_path=\"\"", "\"search_path\" TO ''"),
        ("search_path=", "\"search_path\" TO ''"),
        ("DateStyle=ISO, DMY", "\"DateStyle\" TO 'ISO, DMY'"),
        ("application_name=", "\"application_name\" TO ''"),
    ] {
        assert_eq!(assignment(setting).as_deref(), Some(wanted), "{setting}");
    }
}

#[test]
fn what_is_no_setting_is_refused() {
    for setting in [
        "",
        "work_mem",
        "=1",
        "work mem=1",
        "a\"b=1",
        "a;DROP=1",
        "a.=1",
        ".a=1",
        "1a=1",
        "é=1",
        "a\0=1",
        "a=\0",
        "search_path=a b",
        "search_path=a,",
        "search_path=,a",
        "search_path=\"a",
        "search_path=\"a\"b",
    ] {
        assert_eq!(assignment(setting), None, "{setting:?}");
    }
}

proptest! {
    #[test]
    fn lists_come_back(names in proptest::collection::vec("[^\0]{1,12}", 1..5)) {
        let text = names.iter().map(|name| sql::identifier(name)).collect::<Vec<_>>().join(", ");
        prop_assert_eq!(split_list(&text), Some(names));
    }
}
