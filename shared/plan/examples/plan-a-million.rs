//! Plans a listing of a million objects (or as many as are given), for `make bench`: how long it takes, and in what memory.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a program for people")]

use std::{fmt::Write as _, time::Instant};

use chrono::{DateTime, TimeDelta, Utc};
use plana_plan::{
    expiry::Windows,
    retention::{Entry, Keys, Periods, Policy, Stock, Times, plan},
    window::Window,
};

/// Nights that each name has been backed up.
const NIGHTS: u32 = 400;

fn main() {
    let objects: u32 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let now = Utc::now();
    let days = |days| Window::from_days(days).expect("a window");
    let policy = Policy {
        windows: Windows::new([("starter".parse().expect("a label"), days(30)), ("enterprise".parse().expect("a label"), days(365))]),
        floor: 3,
        freeze_after: days(7),
        debris_after: days(3),
        max_sets: usize::MAX,
        keep: Periods { monthly: 6, ..Periods::default() },
        tiers: Default::default(),
        retired: Default::default(),
        lowered_tiers: false,
    };
    let began = Instant::now();
    let mut stock = Stock::new(Keys::default(), 128 << 10);
    let mut key = String::new();
    for number in 0..objects / 2 {
        let (name, night) = (number / NIGHTS, NIGHTS - number % NIGHTS);
        let begun: DateTime<Utc> = now - TimeDelta::days(night.into()) + TimeDelta::hours(20);
        let stamp = begun.format("%Y%m%dT%H%M%SZ").to_string();
        let label = if name.is_multiple_of(4) { "enterprise" } else { "starter" };
        for file in [format!("tenant{name}.example.org_{stamp}.dump.zst"), "manifest.json".to_owned()] {
            key.clear();
            write!(key, "pg/tenant{name}.example.org/{stamp}.{label}.{number:08x}/{file}").expect("a string takes it");
            stock.add(Entry {
                key: &key,
                size: 5_000_000,
                last_modified: begun,
                etag: Some("0123456789abcdef0123456789abcdef"),
                version: None,
            });
        }
    }
    let plan = plan(stock, &policy, Times::now(now));
    println!("{objects} objects, {} sets, {} go: {:.2} s", plan.committed(), plan.doomed().count(), began.elapsed().as_secs_f64());
}
