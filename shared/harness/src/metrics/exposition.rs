//! Prometheus's text format: written, and read back as we write it.

use std::fmt::Write;

use super::{FAMILIES, Labels, Metrics};

/// The text format, version 0.0.4.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

impl Metrics {
    /// The text: families in a fixed order, series sorted, so that equal metrics are equal text.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        for (family, help) in FAMILIES {
            let Some(series) = self.0.get(family).filter(|series| !series.is_empty()) else { continue };
            text.push_str(&format!("# HELP {family} {help}\n# TYPE {family} gauge\n"));
            for (labels, value) in series {
                text.push_str(family);
                write_labels(&mut text, labels);
                text.push_str(&format!(" {value}\n"));
            }
        }
        text
    }

    /// The series in a text that [`Metrics::render`] wrote. Lines that it never writes are left out.
    pub(crate) fn parse(text: &str) -> Metrics {
        let mut metrics = Metrics::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some((family, labels, value)) = parse_line(line)
                && FAMILIES.iter().any(|(known, _)| *known == family)
            {
                metrics.set(family, &labels, value);
            }
        }
        metrics
    }
}

fn write_labels(text: &mut String, labels: &Labels) {
    for (at, (name, value)) in labels.iter().enumerate() {
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        // Writing to a String cannot fail.
        let written = write!(text, "{}{name}=\"{escaped}\"", if at == 0 { '{' } else { ',' });
        debug_assert!(written.is_ok());
    }
    if !labels.is_empty() {
        text.push('}');
    }
}

fn parse_line(line: &str) -> Option<(&str, Labels, f64)> {
    let split = line.find(['{', ' '])?;
    let (family, mut rest) = line.split_at(split);
    let mut labels = Labels::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (name, after) = rest.strip_prefix(',').unwrap_or(rest).split_once("=\"")?;
            let (value, after) = parse_value(after)?;
            labels.insert(name.to_owned(), value);
            rest = after;
        }
        rest = &rest[1..];
    }
    Some((family, labels, rest.trim().parse().ok()?))
}

/// A label's value up to its closing quote, and what follows.
fn parse_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::{LAST_RUN, NEWEST, STORED, labels};
    use super::*;

    #[test]
    fn what_is_written_is_read_back_whatever_the_names_hold() {
        let mut metrics = Metrics::default();
        for name in ["acme.planapulse.app", "a\"b", "a\\b", "a\nb", "\\n", "a}b{c=\"d\",", "é 🦀", "a\r\tb", " "] {
            metrics.set(NEWEST, &labels(&[("plana_job", "j"), ("area", "pg"), ("name", name)]), 1_800_000_000.0);
            metrics.set(STORED, &labels(&[("plana_job", "j"), ("area", "pg"), ("name", name)]), 0.25);
        }
        metrics.set(LAST_RUN, &labels(&[]), 12_345_678_901.0);
        let text = metrics.render();
        assert_eq!(Metrics::parse(&text), metrics, "{text}");
        assert_eq!(text.matches("# TYPE").count(), 3);
    }

    #[test]
    fn the_form_is_prometheuss() {
        let mut metrics = Metrics::default();
        metrics.set(LAST_RUN, &labels(&[("plana_job", "pg-dump-to-sos"), ("shard", "")]), 1_800_000_000.0);
        metrics.set(NEWEST, &labels(&[("area", "pg"), ("name", "a\"\\\n")]), 7.5);
        let expected = "\
# HELP plana_jobs_last_run_timestamp_seconds When the last run finished.
# TYPE plana_jobs_last_run_timestamp_seconds gauge
plana_jobs_last_run_timestamp_seconds{plana_job=\"pg-dump-to-sos\"} 1800000000
# HELP plana_jobs_backup_newest_timestamp_seconds When the newest committed backup of this name was begun.
# TYPE plana_jobs_backup_newest_timestamp_seconds gauge
plana_jobs_backup_newest_timestamp_seconds{area=\"pg\",name=\"a\\\"\\\\\\n\"} 7.5
";
        assert_eq!(metrics.render(), expected);
    }

    #[test]
    fn damaged_and_foreign_lines_are_left_out() {
        let text = format!("{LAST_RUN}{{a=\"b\n{LAST_RUN}{{a=\"b\"}}\n{LAST_RUN} x\nsomebody_elses 1\n\n{LAST_RUN}{{a=\"b\"}} 2\n");
        let metrics = Metrics::parse(&text);
        assert_eq!(metrics.series().count(), 1);
        assert_eq!(Metrics::parse("\u{0}\u{1}{{{"), Metrics::default());
    }
}
