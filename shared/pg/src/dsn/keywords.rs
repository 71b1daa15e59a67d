//! libpq's keywords, and the environment variables that stand for them.

/// (keyword, environment variable), of libpq 15 to 18. What has no variable reaches a child as a connection string.
pub(super) const KEYWORDS: &[(&str, Option<&str>)] = &[
    ("application_name", Some("PGAPPNAME")),
    ("channel_binding", Some("PGCHANNELBINDING")),
    ("client_encoding", Some("PGCLIENTENCODING")),
    ("connect_timeout", Some("PGCONNECT_TIMEOUT")),
    ("dbname", Some("PGDATABASE")),
    ("fallback_application_name", None),
    ("gssdelegation", Some("PGGSSDELEGATION")),
    ("gssencmode", Some("PGGSSENCMODE")),
    ("gsslib", Some("PGGSSLIB")),
    ("host", Some("PGHOST")),
    ("hostaddr", Some("PGHOSTADDR")),
    ("keepalives", None),
    ("keepalives_count", None),
    ("keepalives_idle", None),
    ("keepalives_interval", None),
    ("krbsrvname", Some("PGKRBSRVNAME")),
    ("load_balance_hosts", Some("PGLOADBALANCEHOSTS")),
    ("max_protocol_version", Some("PGMAXPROTOCOLVERSION")),
    ("min_protocol_version", Some("PGMINPROTOCOLVERSION")),
    ("options", Some("PGOPTIONS")),
    ("passfile", Some("PGPASSFILE")),
    ("password", Some("PGPASSWORD")),
    ("port", Some("PGPORT")),
    ("replication", None),
    ("require_auth", Some("PGREQUIREAUTH")),
    ("requirepeer", Some("PGREQUIREPEER")),
    ("service", Some("PGSERVICE")),
    ("ssl_max_protocol_version", Some("PGSSLMAXPROTOCOLVERSION")),
    ("ssl_min_protocol_version", Some("PGSSLMINPROTOCOLVERSION")),
    ("sslcert", Some("PGSSLCERT")),
    ("sslcertmode", Some("PGSSLCERTMODE")),
    ("sslcompression", Some("PGSSLCOMPRESSION")),
    ("sslcrl", Some("PGSSLCRL")),
    ("sslcrldir", Some("PGSSLCRLDIR")),
    ("sslkey", Some("PGSSLKEY")),
    ("sslmode", Some("PGSSLMODE")),
    ("sslnegotiation", Some("PGSSLNEGOTIATION")),
    ("sslpassword", None),
    ("sslrootcert", Some("PGSSLROOTCERT")),
    ("sslsni", Some("PGSSLSNI")),
    ("target_session_attrs", Some("PGTARGETSESSIONATTRS")),
    ("tcp_user_timeout", None),
    ("user", Some("PGUSER")),
];

/// Variables of libpq that no keyword stands for, and that must not reach a child: the settings say it all.
pub(super) const OTHER_VARIABLES: &[&str] = &["PGSERVICEFILE", "PGREQUIRESSL", "PGSYSCONFDIR"];

/// The known keyword, as a static text.
pub(super) fn known(keyword: &str) -> Option<&'static str> {
    KEYWORDS.iter().find(|(known, _)| *known == keyword).map(|(known, _)| *known)
}

/// The environment variable of a keyword.
pub(super) fn variable(keyword: &str) -> Option<&'static str> {
    KEYWORDS.iter().find(|(known, _)| *known == keyword).and_then(|(_, variable)| *variable)
}

/// The known keyword that looks most like `keyword`, where one is near.
pub(super) fn nearest(keyword: &str) -> Option<&'static str> {
    let by_distance = KEYWORDS.iter().map(|(known, _)| (strsim::damerau_levenshtein(known, keyword), *known));
    by_distance.min().filter(|(distance, _)| *distance <= 2).map(|(_, known)| known)
}
