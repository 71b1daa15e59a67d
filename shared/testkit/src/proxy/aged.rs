//! Listings of a store whose content was stored long ago.

use super::Answer;

const LONG_AGO: &str = "2020-01-01T00:00:00.000Z";

/// Every time in a listing becomes one of years ago, for `Action::rewrite`.
pub fn age(answer: &mut Answer) {
    let mut text = String::from_utf8_lossy(&answer.body).into_owned();
    for element in ["LastModified", "Initiated"] {
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        let mut parts = text.split(&open);
        let mut aged = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let rest = part.split_once(&close).map_or("", |(_, rest)| rest);
            aged += &format!("{open}{LONG_AGO}{close}{rest}");
        }
        text = aged;
    }
    answer.body = text.into_bytes();
}
