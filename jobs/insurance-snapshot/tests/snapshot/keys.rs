//! A snapshot that is unreadable without a key: its receipt says which, and what to do about it.

use std::fs;

use plana_testkit::job::{Job, age, expect_words};

use crate::Tenant;

const KEY: &str = "EXO_ENCRYPTION_KEY";
const SECRET: &str = "b3hvLWVuY3J5cHRpb24ta2V5LW9mLXRoZS10ZXN0cw==";

/// A call for a tenant that needs the key, with a directory for escrow; `key` says where the key comes from.
fn call(tenant: &Tenant, key: &str) -> Job {
    let home = tenant.job.home().display().to_string();
    let identity = tenant.job.home().join("offline.key");
    let recipient = if identity.exists() {
        let text = fs::read_to_string(&identity).unwrap();
        text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap().to_owned()
    } else {
        age::pair(tenant.job.home(), "offline.key").1
    };
    let toml = format!(
        "[store.escrow]\nurl = \"file://{home}/escrow\"\n[escrow]\nrecipients = [\"{recipient}\"]\n\
         [escrow.keys.{KEY}]\ndatabases = [\"tenant_*\"]\nfilestores = [\"tenant_*\"]\n{key}\n"
    );
    tenant.call().config(&toml)
}

fn expect_back(tenant: &Tenant) {
    assert_eq!(tenant.sql("SELECT count(*) FROM partner"), "500");
    for file in &tenant.files {
        assert!(tenant.files_path().join(file).exists(), "{file}");
    }
}

/// The operation goes wrong.
fn break_it(tenant: &Tenant) {
    tenant.sql("DELETE FROM partner WHERE id > 3");
    fs::remove_dir_all(tenant.files_path()).unwrap();
}

#[test]
fn a_receipts_command_reads_the_key_where_the_configuration_does() {
    let tenant = Tenant::new();
    let file = tenant.job.home().join("the key");
    fs::write(&file, format!("{SECRET}\n")).unwrap();
    let outcome =
        call(&tenant, &format!("secret_file = \"{}\"", file.display())).arg("--receipt").arg(tenant.receipt_path()).run().expect(0);
    let receipt = tenant.receipt();
    let [snapshot] = &receipt.snapshots[..] else { panic!("{receipt:?}") };
    let option = format!("--key '{KEY}={}'", file.display());
    expect_words(&snapshot.restore, &["restore-tenant insurance-pg/", &option]);
    assert_eq!((snapshot.keys[0].name.as_str(), &snapshot.keys[0].recover), (KEY, &None));
    let said = format!("{}{}{}", outcome.done.stdout, outcome.done.stderr, fs::read_to_string(tenant.receipt_path()).unwrap());
    assert!(!said.contains(SECRET));
    break_it(&tenant);
    tenant.restore(&snapshot.restore);
    expect_back(&tenant);
    // The option is what makes it complete.
    let without = snapshot.restore.replace(&option, "");
    fs::write(tenant.job.home().join("config.toml"), "").unwrap();
    let refused = tenant.paste(&format!("{without} --as-superuser")).expect_code(20);
    expect_words(&refused.stderr, &[KEY, "not at hand"]);
}

#[test]
fn a_receipt_says_how_a_key_of_the_services_own_is_put_into_the_file_that_its_command_reads() {
    let tenant = Tenant::new();
    let job = call(&tenant, "").env(KEY, SECRET);
    job.clone().arg("--receipt").arg(tenant.receipt_path()).run().expect(0);
    let receipt = tenant.receipt();
    let [snapshot] = &receipt.snapshots[..] else { panic!("{receipt:?}") };
    let [key] = &snapshot.keys[..] else { panic!("{receipt:?}") };
    assert_eq!((key.name.as_str(), key.file.as_str()), (KEY, "EXO_ENCRYPTION_KEY.key"));
    expect_words(&snapshot.restore, &["--key EXO_ENCRYPTION_KEY=EXO_ENCRYPTION_KEY.key"]);
    break_it(&tenant);
    // Pasted as it is, it says what lacks; nothing is begun.
    let refused = tenant.paste(&format!("{} --as-superuser", snapshot.restore)).expect_code(10);
    expect_words(&refused.stderr, &["EXO_ENCRYPTION_KEY.key", "--key", "name the file that holds the key"]);
    assert_eq!(tenant.sql("SELECT count(*) FROM partner"), "3");
    let recover = key.recover.as_deref().unwrap();
    expect_words(
        recover,
        &["restore-from-sos --config", "escrow recover EXO_ENCRYPTION_KEY@", "--identity IDENTITY --to EXO_ENCRYPTION_KEY.key"],
    );
    tenant.paste(&recover.replace("IDENTITY", "offline.key")).expect_code(0);
    tenant.restore(&snapshot.restore);
    expect_back(&tenant);
    // A snapshot that is used again may be of an older key than today's.
    let again = job.arg("--reuse-within=1h").env(KEY, "rotated meanwhile").run().expect(0);
    let again = &again.report["receipt"]["snapshots"][0];
    assert!(!again["keys"][0]["recover"].as_str().unwrap().contains('@'), "{again:#}");
    expect_words(again["restore"].as_str().unwrap(), &["--key EXO_ENCRYPTION_KEY=EXO_ENCRYPTION_KEY.key"]);
}

#[test]
fn a_key_that_is_in_no_escrow_is_named_all_the_same() {
    let tenant = Tenant::new();
    let toml = format!("[escrow.keys.{KEY}]\ndatabases = [\"tenant_*\"]\n");
    let outcome = tenant.call_for("--database").config(&toml).env(KEY, SECRET).run().expect(0);
    let snapshot = &outcome.report["receipt"]["snapshots"][0];
    expect_words(snapshot["restore"].as_str().unwrap(), &["restore insurance-pg/", "--key EXO_ENCRYPTION_KEY=EXO_ENCRYPTION_KEY.key"]);
    assert!(snapshot["keys"][0]["recover"].is_null());
    expect_words(&outcome.warnings(), &["is in no escrow"]);
}
