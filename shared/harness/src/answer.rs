//! What a question about the store or a set is answered with: for people, or as one JSON object.

use std::{fmt, io};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    exit::Exit,
    grid::{Column, Look, grid},
};

/// An answer: blocks for people, and the same for programs.
#[derive(Debug, Default)]
pub struct Answer {
    blocks: Vec<Block>,
    json: Map<String, Value>,
    rows: Vec<(String, Rows)>,
}

/// Elements of an array that are made while they are written.
struct Rows(Box<dyn Iterator<Item = String> + Send>);

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rows")
    }
}

#[derive(Debug, Clone)]
enum Block {
    Text(String),
    Grid(Vec<Column>),
}

impl Answer {
    /// With lines of text, for people.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.blocks.push(Block::Text(text.into()));
        self
    }

    /// With a table, for people.
    pub fn grid(mut self, columns: Vec<Column>) -> Self {
        self.blocks.push(Block::Grid(columns));
        self
    }

    /// With an array of the JSON object, each element a JSON text. They are taken one after the other while they are written, so
    /// that a million of them need no more memory than what they are made of. Arrays come last, in the order in which they are given.
    pub fn json_rows<I>(mut self, key: &str, rows: I) -> Self
    where
        I: IntoIterator<Item = String>,
        I::IntoIter: Send + 'static,
    {
        self.rows.push((key.to_owned(), Rows(Box::new(rows.into_iter()))));
        self
    }

    /// With a key of the JSON object.
    pub fn json(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.json.insert(key.to_owned(), value.into());
        self
    }
}

pub(crate) fn render_text(answer: &Answer, look: Look) -> String {
    let block = |block: &Block| match block {
        Block::Text(text) => text.clone(),
        Block::Grid(columns) => grid(columns, look),
    };
    answer.blocks.iter().map(block).collect::<Vec<_>>().join("\n\n")
}

/// Writes the object that every job's result is, with the answer's own keys at its end.
pub(crate) fn write_json(job: &str, run_id: &str, answer: Answer, spread: bool, out: &mut dyn io::Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Whole<'a> {
        schema: u32,
        job: &'a str,
        version: &'a str,
        run_id: &'a str,
        outcome: Exit,
        exit_code: u8,
        #[serde(flatten)]
        answer: &'a Map<String, Value>,
    }
    let exit = Exit::Done;
    let whole = Whole { schema: 1, job, version: crate::VERSION, run_id, outcome: exit, exit_code: exit.code(), answer: &answer.json };
    let text = if spread { serde_json::to_string_pretty(&whole)? } else { serde_json::to_string(&whole)? };
    // The object's last brace, before which the arrays go.
    let open = text.strip_suffix('}').unwrap_or(&text).trim_end();
    out.write_all(open.as_bytes())?;
    for (key, rows) in answer.rows {
        write!(out, ",{}:[", serde_json::to_string(&key)?)?;
        for (at, row) in rows.0.enumerate() {
            out.write_all(if at > 0 { b"," } else { b"" })?;
            out.write_all(row.as_bytes())?;
        }
        out.write_all(b"]")?;
    }
    out.write_all(b"}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_the_same_for_people_and_programs() {
        let answer = Answer::default()
            .text("Two sets.")
            .grid(vec![Column::words("set", ["a".to_owned(), "b".to_owned()])])
            .json("sets", vec!["a", "b"]);
        assert_eq!(render_text(&answer, Look::default()), "Two sets.\n\nSET\na\nb");
        let whole = written(answer, false);
        assert_eq!((&whole["schema"], &whole["exit_code"], &whole["sets"][1]), (&Value::from(1), &Value::from(0), &Value::from("b")));
        let two = || {
            Answer::default().json("of", "x").json_rows("sets", vec!["{\"a\":1}".to_owned(), "{}".to_owned()]).json_rows("none", Vec::new())
        };
        for spread in [false, true] {
            let whole = written(two(), spread);
            assert_eq!((&whole["of"], &whole["sets"]), (&Value::from("x"), &serde_json::json!([{ "a": 1 }, {}])));
            assert_eq!(whole["none"], serde_json::json!([]));
        }
    }

    fn written(answer: Answer, spread: bool) -> Value {
        let mut out = Vec::new();
        write_json("job", "run", answer, spread, &mut out).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    /// A row is made when it is its turn, and not before.
    #[test]
    fn rows_are_written_one_by_one() {
        use std::sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        };
        struct Watch(Arc<AtomicUsize>, usize);
        impl io::Write for Watch {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.1 += bytes.iter().filter(|byte| **byte == b'#').count();
                assert!(self.0.load(Ordering::SeqCst) <= self.1 + 1, "made ahead of what is written");
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let made = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&made);
        let rows = (0..1000).map(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            "\"#\"".to_owned()
        });
        let mut out = Watch(Arc::clone(&made), 0);
        write_json("job", "run", Answer::default().json_rows("rows", rows), false, &mut out).unwrap();
        assert_eq!((out.1, made.load(Ordering::SeqCst)), (1000, 1000));
    }
}
