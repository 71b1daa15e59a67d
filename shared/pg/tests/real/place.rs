//! A proven database takes its place, or nothing changes.

use std::time::{Duration, Instant};

use plana_pg::scratch::{Admin, AdminError, scratch_name};
use plana_testkit::pg::{PgCluster, PgMajor, quote_identifier, quote_literal};

use crate::support::{Guest, WEAK_PASSWORD, admin, until, utf8, weak_admin, weak_role};

fn mark(cluster: &PgCluster, database: &str, mark: &str) {
    cluster.psql(database, &format!("CREATE TABLE mark AS SELECT '{mark}' AS mark")).expect("a mark");
}

fn marked(cluster: &PgCluster, database: &str) -> String {
    cluster.psql(database, "SELECT mark FROM mark").expect(database)
}

/// (owner, whether anybody may connect, comment)
fn state(cluster: &PgCluster, database: &str) -> String {
    let query = "SELECT pg_get_userbyid(datdba), datallowconn, shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = ";
    cluster.psql("postgres", &format!("{query}{}", quote_literal(database))).expect("its state")
}

/// An old database in use and a new one, with names that nobody else has.
async fn pair(cluster: &PgCluster, admin: &Admin, prefix: &str) -> (String, String) {
    let (old, fresh) = (cluster.fresh_database("it's old").expect("a database"), scratch_name(prefix, 1));
    admin.create_database(&fresh, &utf8(None)).await.expect("a database");
    mark(cluster, &old, "old");
    mark(cluster, &fresh, "new");
    (old, fresh)
}

#[tokio::test]
async fn a_database_in_use_is_replaced_and_kept() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let admin = admin(cluster).await;
        let (old, fresh) = pair(cluster, &admin, "swapped_").await;
        let owner = weak_role(cluster, "tenant");
        cluster.psql("postgres", &format!("COMMENT ON DATABASE {} IS 'a comment'", quote_identifier(&old))).expect("a comment");
        let mut guests = [Guest::enter(cluster, &old).await, Guest::enter(cluster, &old).await];
        // An application that comes back at once, again and again.
        let persistent = Persistent::start(cluster, &old);
        let kept = format!("{old} kept");
        let begun = Instant::now();
        admin.swap(&old, &kept, &fresh, Some(&owner)).await.expect("its place");
        assert!(begun.elapsed() < Duration::from_secs(4), "PostgreSQL {major}: {:?}", begun.elapsed());
        for guest in &mut guests {
            until("the guest has left", || !guest.is_there()).await;
        }
        assert_eq!((marked(cluster, &old).as_str(), state(cluster, &old)), ("new", format!("{owner}|t|")), "PostgreSQL {major}");
        assert_eq!(state(cluster, &kept), "postgres|f|a comment", "PostgreSQL {major}");
        assert!(cluster.psql(&kept, "SELECT 1").is_err_and(|error| error.to_string().contains("not currently accepting")));
        assert!(!admin.server().database_exists(&fresh).await.expect("an answer"));
        until("the application is in the new one", || persistent.last() == "new").await;
        cluster.psql("postgres", &format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", quote_identifier(&kept))).expect("open");
        assert_eq!(marked(cluster, &kept), "old", "PostgreSQL {major}");
    }
}

/// Connects again as soon as it was thrown out, and remembers what it saw last.
struct Persistent {
    seen: std::sync::Arc<std::sync::Mutex<String>>,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Persistent {
    fn start(cluster: &'static PgCluster, database: &str) -> Self {
        let (seen, stop) = <(std::sync::Arc<std::sync::Mutex<String>>, std::sync::Arc<std::sync::atomic::AtomicBool>)>::default();
        let (shared, stopped, database) = (seen.clone(), stop.clone(), database.to_owned());
        let thread = std::thread::spawn(move || {
            while !stopped.load(std::sync::atomic::Ordering::SeqCst) {
                if let Ok(mark) = cluster.psql(&database, "SELECT mark FROM mark; SELECT pg_sleep(0.2)") {
                    *shared.lock().expect("a lock") = mark.trim().to_owned();
                }
            }
        });
        Persistent { seen, stop, thread: Some(thread) }
    }

    fn last(&self) -> String {
        self.seen.lock().expect("a lock").clone()
    }
}

impl Drop for Persistent {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::SeqCst);
        self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// The old one is whole, open, and under its own name.
fn assert_untouched(cluster: &PgCluster, old: &str, kept: &str) {
    assert_eq!(marked(cluster, old), "old");
    assert!(state(cluster, old).contains("|t|"), "{}", state(cluster, old));
    assert_eq!(state(cluster, kept), "");
}

#[tokio::test]
async fn a_second_rename_that_fails_undoes_the_first() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let admin = admin(cluster).await;
        let (old, fresh) = pair(cluster, &admin, "undone_").await;
        let mut guest = Guest::enter(cluster, &old).await;
        // Only the old one's sessions are ended: this one stays, and PostgreSQL renames nothing that is in use.
        let mut watcher = Guest::enter(cluster, &fresh).await;
        let error = admin.swap(&old, "undone kept", &fresh, None).await.expect_err("in use");
        assert!(matches!(error, AdminError::InUse { .. }), "PostgreSQL {major}: {error}");
        assert!(error.to_string().contains("(1 of postgres)"), "{error}");
        assert_untouched(cluster, &old, "undone kept");
        assert_eq!(marked(cluster, &fresh), "new");
        assert!(watcher.is_there() && state(cluster, &fresh).contains("plana-jobs scratch, made 20"));
        until("the guest has left", || !guest.is_there()).await;
        // So it is when the last statement fails: nobody may give a database to just anybody.
        drop(watcher);
        let (role, stranger) = (weak_role(cluster, "restorer"), weak_role(cluster, "stranger"));
        for database in [&old, &fresh] {
            let give = format!("ALTER DATABASE {} OWNER TO {role}", quote_identifier(database));
            cluster.psql("postgres", &give).expect("an owner");
        }
        let weak = weak_admin(cluster, &role).await;
        let error = weak.swap(&old, "undone kept", &fresh, Some(&stranger)).await.expect_err("not a member");
        assert!(matches!(error, AdminError::Denied { .. }), "PostgreSQL {major}: {error}");
        assert_untouched(cluster, &old, "undone kept");
        weak.swap(&old, &format!("{old} kept"), &fresh, Some(&role)).await.expect("its own");
        assert_eq!(marked(cluster, &old), "new");
    }
}

#[tokio::test]
async fn a_swap_that_is_killed_in_the_middle_changes_nothing() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let role = weak_role(cluster, "restorer");
        let weak = weak_admin(cluster, &role).await;
        let (old, fresh) = pair(cluster, &weak, "killed_").await;
        cluster.psql("postgres", &format!("ALTER DATABASE {} OWNER TO {role}", quote_identifier(&old))).expect("an owner");
        // A superuser's session, which is not ours to end: the first rename waits for it.
        let mut guest = Guest::enter(cluster, &old).await;
        let swap = weak.swap(&old, "killed kept", &fresh, None);
        tokio::time::timeout(Duration::from_secs(1), swap).await.expect_err("it waits");
        until("nobody waits any more", || {
            let query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%killed kept%' AND pid <> pg_backend_pid()";
            cluster.psql("postgres", query).expect("a count") == "0"
        })
        .await;
        assert!(guest.is_there());
        assert_untouched(cluster, &old, "killed kept");
        // To the end, it waits for five seconds, says who is in the way, and changes nothing either.
        let error = weak.swap(&old, "killed kept", &fresh, None).await.expect_err("in use");
        assert!(error.to_string().contains("(1 of postgres)"), "PostgreSQL {major}: {error}");
        assert!(guest.is_there());
        assert_untouched(cluster, &old, "killed kept");
        cluster.psql("postgres", &format!("GRANT pg_signal_backend TO {role}")).expect("a grant");
        drop(guest);
        weak.swap(&old, &format!("{old} kept"), &fresh, None).await.expect("its place");
    }
}

#[tokio::test]
async fn what_cannot_be_replaced_is_named_before_anybody_is_thrown_out() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let admin = admin(cluster).await;
        let (old, fresh) = pair(cluster, &admin, "named_").await;
        let mut guest = Guest::enter(cluster, &old).await;
        let taken = cluster.fresh_database("taken").expect("a database");
        let error = admin.swap(&old, &taken, &fresh, None).await.expect_err("taken");
        assert!(matches!(error, AdminError::Exists { .. }), "{error}");
        let error = admin.swap(&old, &"x".repeat(64), &fresh, None).await.expect_err("too long");
        assert!(matches!(error, AdminError::BadName { .. }), "{error}");
        for (existing, fresh) in [("no such", fresh.as_str()), (old.as_str(), "no such")] {
            assert!(admin.swap(existing, "named kept", fresh, None).await.expect_err("gone").is_gone());
        }
        let error = admin.swap(&old, "named kept", &fresh, Some("no such")).await.expect_err("no such role");
        assert!(matches!(error, AdminError::NoSuchRole { .. }), "{error}");
        let role = weak_role(cluster, "restorer");
        let error = weak_admin(cluster, &role).await.swap(&old, "named kept", &fresh, None).await.expect_err("not ours");
        assert!(error.to_string().ends_with(&format!("GRANT \"postgres\" TO \"{role}\"")), "PostgreSQL {major}: {error}");
        assert!(guest.is_there());
        assert_untouched(cluster, &old, "named kept");
    }
}

/// The advice helps: as a member of its owner, a role may replace a tenant's database and end the tenant's sessions.
#[tokio::test]
async fn a_member_of_the_owner_replaces_a_tenants_database() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let (role, tenant) = (weak_role(cluster, "restorer"), weak_role(cluster, "tenant"));
        let weak = weak_admin(cluster, &role).await;
        let (old, fresh) = pair(cluster, &weak, "member_").await;
        let give = format!("ALTER DATABASE {} OWNER TO {tenant}", quote_identifier(&old));
        cluster.psql("postgres", &give).expect("an owner");
        let error = weak.swap(&old, "member kept", &fresh, Some(&tenant)).await.expect_err("not ours");
        cluster.psql("postgres", &format!("GRANT \"{tenant}\" TO \"{role}\"")).expect("the advice");
        assert!(error.to_string().ends_with(&format!("GRANT \"{tenant}\" TO \"{role}\"")), "PostgreSQL {major}: {error}");
        let (sleeping, database) = (tenant.clone(), old.clone());
        let guest = std::thread::spawn(move || cluster.psql_as(&sleeping, WEAK_PASSWORD, &database, "SELECT pg_sleep(60)"));
        let query = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{tenant}'");
        until("the tenant is connected", || cluster.psql("postgres", &query).expect("a count") == "1").await;
        weak.swap(&old, &format!("{old} kept"), &fresh, Some(&tenant)).await.expect("its place");
        assert!(guest.join().expect("the tenant").is_err());
        assert_eq!((marked(cluster, &old).as_str(), state(cluster, &old)), ("new", format!("{tenant}|t|")));
    }
}

#[tokio::test]
async fn a_database_is_renamed_and_given_away() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let admin = admin(cluster).await;
        let (taken, fresh) = pair(cluster, &admin, "renamed_").await;
        let tenant = weak_role(cluster, "tenant");
        let error = admin.rename(&fresh, &taken, None).await.expect_err("taken");
        assert!(matches!(error, AdminError::Exists { .. }), "{error}");
        assert!(admin.rename("no such", "else", None).await.expect_err("gone").is_gone());
        assert!(matches!(admin.rename(&fresh, "", None).await, Err(AdminError::BadName { .. })));
        let name = format!("{taken} \"2\"");
        admin.rename(&fresh, &name, Some(&tenant)).await.expect("a name");
        assert_eq!((marked(cluster, &name).as_str(), state(cluster, &name)), ("new", format!("{tenant}|t|")), "PostgreSQL {major}");
        admin.set_owner(&name, "postgres").await.expect("an owner");
        assert_eq!(state(cluster, &name), "postgres|t|");
        assert!(matches!(admin.set_owner(&name, "no such").await, Err(AdminError::NoSuchRole { .. })));
        assert!(admin.set_owner("no such", "postgres").await.expect_err("gone").is_gone());
        let guest = Guest::enter(cluster, &name).await;
        let error = admin.rename(&name, "renamed again", None).await.expect_err("in use");
        assert!(error.to_string().contains("(1 of postgres)"), "PostgreSQL {major}: {error}");
        drop(guest);
    }
}
