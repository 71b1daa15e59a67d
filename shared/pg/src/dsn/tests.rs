use std::{io::Read, os::unix::fs::PermissionsExt, path::Path};

use super::{passfile::Passwords, *};
use proptest::prelude::*;

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn resolve(dsn: &str) -> Result<ConnectionSettings, DsnError> {
    ConnectionSettings::resolve(Some(dsn), &environment(&[("USER", "me"), ("PGHOST", "from.env")]))
}

/// What a child is told, its password included.
fn told(settings: &ConnectionSettings) -> (Environment, String) {
    let child = settings.child_connection(&[]).expect("a child's settings");
    let mut passfile = String::new();
    if let Some(file) = &child.passfile {
        std::fs::File::open(file.path()).expect("the passfile").read_to_string(&mut passfile).expect("its text");
    }
    (child.set.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(), passfile)
}

#[test]
fn both_forms_say_the_same() {
    let url = resolve("postgres://us%40er:p%3Aa%2Fss@db.example:6000/my%20db?sslmode=verify-full&application_name=x").expect("a URL");
    let keywords =
        resolve(" user=us@er password = 'p:a/ss' host=db.example port=6000 dbname='my db' sslmode=verify-full application_name=x ");
    assert_eq!(Ok(&url), keywords.as_ref());
    assert_eq!((url.user(), url.database(), url.server_label().as_str()), ("us@er", "my db", "db.example:6000"));
    assert_eq!(told(&url).1, "db.example:6000:*:*:p\\:a/ss\n");
}

#[test]
fn quotes_and_backslashes_are_read_as_libpq_does() {
    let settings = resolve(r"user='it''s' dbname=x").expect_err("a quote inside quotes");
    assert!(matches!(settings, DsnError::Malformed(_)), "{settings}");
    let settings = resolve(r"user='it\'s' dbname=a\ b\\c host='' password='\\'").expect("a string");
    assert_eq!((settings.user(), settings.database()), ("it's", r"a b\c"));
    assert_eq!(told(&settings).1.lines().next().and_then(|l| l.rsplit_once(":*:*:")).map(|(_, p)| p.to_owned()), Some(r"\\".to_owned()));
}

#[test]
fn several_hosts_and_ports() {
    let label = |dsn: &str| resolve(dsn).map(|s| s.server_label());
    assert_eq!(label("postgresql://a,b:6000,[::1]:7000/d").as_deref(), Ok("a:5432,b:6000,[::1]:7000"));
    assert_eq!(label("host=a,b port=6000").as_deref(), Ok("a:6000,b:6000"));
    assert_eq!(label("postgres:///d?host=/run/pg&port=6000").as_deref(), Ok("/run/pg/.s.PGSQL.6000"));
    assert_eq!(label("postgres://%2Frun%2Fpg:6000/d").as_deref(), Ok("/run/pg/.s.PGSQL.6000"));
    assert_eq!(label("dbname=d").as_deref(), Ok("from.env:5432"));
    for wrong in ["host=a,b,c port=1,2", "host=a hostaddr=1.2.3.4,5.6.7.8", "host=a port=0", "host=a port=70000", "host=a port=x"] {
        assert!(matches!(label(wrong), Err(DsnError::BadValue { .. })), "{wrong}");
    }
    let (set, _) = told(&resolve("host=a,/run/b port=1,2 hostaddr=1.2.3.4,").expect("two hosts"));
    assert_eq!((set["PGHOST"].as_str(), set["PGPORT"].as_str(), set["PGHOSTADDR"].as_str()), ("a,/run/b", "1,2", "1.2.3.4,"));
    assert_eq!(resolve("host=a,b").expect("two hosts").pinned_to(1).server_label(), "b:5432");
}

#[test]
fn the_string_wins_over_the_service_and_that_over_the_environment() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("services");
    let text = "# ours\n[other]\nhost=wrong\n\n[acme]\nhost = from.service\nport=7000\nuser=service\n[last]\n";
    std::fs::write(&file, text).expect("a service file");
    let environment = environment(&[
        ("PGSERVICEFILE", file.to_str().expect("a path")),
        ("PGSERVICE", "acme"),
        ("PGHOST", "from.env"),
        ("PGDATABASE", "env"),
        ("PGOPTIONS", "-c geqo=off"),
    ]);
    let settings = ConnectionSettings::resolve(Some("user=string"), &environment).expect("a service");
    assert_eq!((settings.user(), settings.database(), settings.server_label().as_str()), ("string", "env", "from.service:7000"));
    assert_eq!(settings.keyword("options"), Some("-c geqo=off"));
    // Without a string: zero configuration.
    assert_eq!(ConnectionSettings::resolve(None, &environment).expect("a service").user(), "service");
    let missing = ConnectionSettings::resolve(Some("service=nowhere"), &environment).expect_err("no such service");
    assert!(missing.to_string().starts_with("the service `nowhere` is not in "), "{missing}");
    std::fs::write(&file, "[acme]\nhots=x\n").expect("a service file");
    let error = ConnectionSettings::resolve(None, &environment).expect_err("an unknown keyword").to_string();
    assert!(error.ends_with("services line 2 has an unknown keyword `hots`: did you mean `host`?"), "{error}");
}

#[test]
fn a_socket_is_found_without_being_named() {
    let settings = ConnectionSettings::resolve(None, &environment(&[("PGPORT", "59999")])).expect("the defaults");
    assert_eq!(settings.hosts().len(), 1);
    assert!(!told(&settings).0["PGHOST"].is_empty());
}

#[test]
fn unknown_keywords_are_named_with_the_nearest() {
    let message = |dsn: &str| resolve(dsn).expect_err("an unknown keyword").to_string();
    assert_eq!(message("hots=a"), "the connection string has an unknown keyword `hots`: did you mean `host`?");
    assert_eq!(
        message("postgres://h/d?ssl_mode=require"),
        "the connection string has an unknown keyword `ssl_mode`: did you mean `sslmode`?"
    );
    assert_eq!(message("frobnicate=1"), "the connection string has an unknown keyword `frobnicate`");
}

#[test]
fn no_message_shows_a_password() {
    let wrong = [
        "postgres://u:hunter2@x@host/d",
        "postgres://u:hunter2/x@host/d",
        "postgres://u:hunter2%zz@host/d",
        "postgres://u:hunter2%@host/d",
        "postgres://u:p@host:hunter2/d",
        "postgres://u:hunter2@[::1/d",
        "postgres://u:hunter2@host/d?x",
        "host=a password=x hunter2=y",
        "host=a password=x hunter2",
        "host=a password='hunter2",
        "host=a password=hunter2 port=x",
        "host=a password=hunter2 sslmode=maybe",
        "hunter2",
        "host=a sslpassword=hunter2",
    ];
    for dsn in wrong {
        let error = resolve(dsn).expect_err(dsn);
        assert!(!error.to_string().contains("hunter2") && !format!("{error:?}").contains("hunter2"), "{dsn}: {error:?}");
    }
    let settings = resolve("host=a password=hunter2 user=u").expect("a string");
    assert!(!format!("{settings:?} {:?}", settings.child_connection(&[])).contains("hunter2"));
}

#[test]
fn a_child_is_told_everything_but_the_password() {
    let settings = resolve("host=a user=u password=hunter2 keepalives_idle=30 sslrootcert=/ca options='-c a=b'").expect("a string");
    let settings = settings.with_database("postgres://x").with_application_name("plana-jobs/test");
    let child = settings.child_connection(&[("statement_timeout".to_owned(), "0".to_owned())]).expect("a child's settings");
    let get = |name: &str| child.set.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str());
    assert_eq!(get("PGDATABASE"), Some("postgres://x"));
    assert_eq!(get("PGOPTIONS"), Some("-c a=b -c statement_timeout=0"));
    assert_eq!((get("PGAPPNAME"), get("PGSSLROOTCERT")), (Some("plana-jobs/test"), Some("/ca")));
    assert_eq!(child.conninfo.as_deref(), Some("keepalives_idle='30'"));
    assert!(child.remove.contains(&"PGPASSWORD") && child.remove.contains(&"PGSERVICE"));
    assert!(child.set.iter().all(|(_, value)| !value.contains("hunter2")));
    let path = child.passfile.as_ref().expect("a passfile").path();
    let mode = std::fs::metadata(&path).expect("the passfile").permissions().mode();
    assert_eq!((mode & 0o777, Path::new(&path).starts_with("/proc/self/fd")), (0o600, true));
    assert!(matches!(resolve("password='a\nb'").expect("a string").child_connection(&[]), Err(DsnError::PasswordNotPortable)));
}

#[test]
fn passfiles_are_read_as_libpq_does() {
    let passwords = Passwords::parse("# a comment\n\nhost:5432:db:u\\:ser:pa\\:ss:wo\\\\rd\n*:*:*:*:*\n*:1:\\*:x:never\nshort:line\n");
    assert_eq!(passwords.find("host", 5432, "db", "u:ser"), Some("pa:ss:wo\\rd"));
    assert_eq!(passwords.find("other", 1, "*", "x"), Some("*"));
    let passwords = Passwords::parse("*:1:\\*:x:star\n");
    assert_eq!((passwords.find("h", 1, "*", "x"), passwords.find("h", 1, "any", "x")), (Some("star"), None));
}

#[test]
fn a_passfile_serves_each_database_and_must_be_private() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join(".pgpass");
    std::fs::write(&file, "h:5432:a:u:first\nh:5432:*:u:second\n").expect("a passfile");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    let environment = environment(&[("HOME", directory.path().to_str().expect("a path"))]);
    let settings = ConnectionSettings::resolve(Some("host=h user=u dbname=a"), &environment).expect("settings");
    assert_eq!(told(&settings).1, "h:5432:*:*:first\n");
    assert_eq!(told(&settings.with_database("b")).1, "h:5432:*:*:second\n");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("a mode");
    let settings = ConnectionSettings::resolve(Some("host=h user=u dbname=a"), &environment).expect("settings");
    assert_eq!(told(&settings).1, "");
    assert!(settings.warnings()[0].ends_with("others may read it: chmod 0600 it"), "{:?}", settings.warnings());
}

#[test]
fn options_are_split_as_the_server_does() {
    let expected = [("a", "b"), ("c_d", "e f"), ("g", "h\\i")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(parse_options(r"-c a=b  --c-d=e\ f -B 5 -cg=h\\i"), expected);
}

proptest! {
    #[test]
    fn every_value_survives_the_keyword_form(user in "\\PC{1,20}", password in "\\PC{1,20}", database in "\\PC{1,20}") {
        let quote = |text: &str| format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"));
        let dsn = format!("host=h user={} password={} dbname={}", quote(&user), quote(&password), quote(&database));
        let settings = resolve(&dsn).expect("a string");
        prop_assert_eq!((settings.user(), settings.database()), (user.as_str(), database.as_str()));
        let written = Passwords::parse(&told(&settings).1);
        prop_assert_eq!(written.find("h", 5432, "any", "any"), Some(password.as_str()));
    }

    #[test]
    fn every_value_survives_the_url_form(user in "\\PC{1,20}", password in "\\PC{1,20}", database in "\\PC{1,20}") {
        let encode = |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let dsn = format!("postgres://{}:{}@h/{}", encode(&user), encode(&password), encode(&database));
        let settings = resolve(&dsn).expect("a URL");
        prop_assert_eq!((settings.user(), settings.database()), (user.as_str(), database.as_str()));
    }

    #[test]
    fn options_survive_the_round_trip(value in "\\PC{0,20}") {
        prop_assert_eq!(parse_options(&escape_option("x", &value)), [("x".to_owned(), value)]);
    }

    #[test]
    fn no_string_makes_it_panic(text in "\\PC{0,60}", url in any::<bool>()) {
        let text = if url { format!("postgres://{text}") } else { text };
        if let Err(error) = resolve(&text) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
