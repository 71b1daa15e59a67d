//! Numbers as people read them.

use plana_config::ByteSize;

/// `1.4 GiB`.
pub fn bytes(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}

/// `0.4 s`, `12.3 s`, `3 m 12 s`, `1 h 02 m`.
pub fn seconds(seconds: f64) -> String {
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match whole {
        0..3600 => format!("{} m {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} m", whole / 3600, whole % 3600 / 60),
    }
}

/// `3 h`, `12 d`, `2 y`: how long ago something was; the future is `in 3 h`.
pub fn age(span: chrono::TimeDelta) -> String {
    let seconds = span.num_seconds();
    let text = match seconds.unsigned_abs() {
        0..60 => format!("{} s", seconds.unsigned_abs()),
        60..7200 => format!("{} min", seconds.unsigned_abs() / 60),
        7200..172_800 => format!("{} h", seconds.unsigned_abs() / 3600),
        172_800..63_072_000 => format!("{} d", seconds.unsigned_abs() / 86_400),
        _ => format!("{} y", seconds.unsigned_abs() / 31_536_000),
    };
    if seconds < 0 { format!("in {text}") } else { text }
}

/// `1,234,567`.
pub fn integer(number: i128) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 set`, `1,200 sets`.
pub fn count(number: usize, word: &str) -> String {
    format!("{} {word}{}", integer(number as i128), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (value, text) in [(0.0, "0.0 s"), (59.94, "59.9 s"), (59.99, "1 m 00 s"), (192.4, "3 m 12 s"), (3720.0, "1 h 02 m")] {
            assert_eq!(seconds(value), text);
        }
        for (value, text) in [(5, "5 s"), (90, "1 min"), (7200, "2 h"), (200_000, "2 d"), (63_072_000, "2 y"), (-7200, "in 2 h")] {
            assert_eq!(age(chrono::TimeDelta::seconds(value)), text);
        }
        assert_eq!((count(1, "set"), count(0, "set"), count(1200, "set")), ("1 set".into(), "0 sets".into(), "1,200 sets".into()));
        for (value, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (-1_234_567, "-1,234,567")] {
            assert_eq!(integer(value), text);
        }
    }
}
