//! As whom a server runs: PostgreSQL refuses to be root.

use std::fs;

use super::ThrowawayError;
use crate::child::Account;

const ACCOUNTS: &str = "/etc/passwd";

/// The user to run as; `None` where we are not root, and then it is us.
pub(super) fn to_run_as(user: &str) -> Result<Option<Account>, ThrowawayError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let accounts = fs::read_to_string(ACCOUNTS).map_err(|source| ThrowawayError::Directory { path: ACCOUNTS.into(), source })?;
    match find(&accounts, user) {
        Some(Account { uid: 0, .. }) => Err(ThrowawayError::Root { user: user.to_owned() }),
        Some(account) => Ok(Some(account)),
        None => Err(ThrowawayError::NoAccount { user: user.to_owned() }),
    }
}

/// The line `name:password:uid:gid:…` of a user.
fn find(accounts: &str, user: &str) -> Option<Account> {
    let mut lines = accounts.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| {
        let is_meant = fields.next() == Some(user);
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        is_meant.then_some(Account { uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let accounts = "root:x:0:0:root:/root:/bin/sh\npost:x:1:2::/:\n\nbroken\npostgres:x:105:107:,,,:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(find(accounts, "postgres"), Some(Account { uid: 105, gid: 107 }));
        assert_eq!(find(accounts, "root"), Some(Account { uid: 0, gid: 0 }));
        assert_eq!(find(accounts, "nobody"), None);
        assert_eq!(find(accounts, "broken"), None);
    }
}
