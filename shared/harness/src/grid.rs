//! Tables for people: columns that line up, numbers to the right, nothing in them that a terminal would obey.

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use plana_plan::name::printable;

/// What the place can show that a table goes to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look {
    /// Whether colour may be used.
    pub colour: bool,
    /// How many columns a line has; none where it is not a terminal.
    pub width: Option<u16>,
}

/// How a cell is to be felt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing special.
    #[default]
    Plain,
    /// As it should be: green.
    Good,
    /// Worth a look: yellow.
    Doubtful,
    /// Wrong: red.
    Bad,
}

/// A column: its heading, whether it holds numbers, and a text for each row.
#[derive(Debug, Clone, Default)]
pub struct Column {
    heading: String,
    number: bool,
    cells: Vec<(String, Tone)>,
}

impl Column {
    /// A column of words.
    pub fn words(heading: &str, cells: impl IntoIterator<Item = String>) -> Self {
        Column { heading: heading.to_uppercase(), number: false, cells: cells.into_iter().map(|text| (text, Tone::Plain)).collect() }
    }

    /// A column of numbers: they stand to the right.
    pub fn numbers(heading: &str, cells: impl IntoIterator<Item = String>) -> Self {
        Column { number: true, ..Column::words(heading, cells) }
    }

    /// A column of words, each with its tone.
    pub fn toned(heading: &str, cells: impl IntoIterator<Item = (String, Tone)>) -> Self {
        Column { heading: heading.to_uppercase(), number: false, cells: cells.into_iter().collect() }
    }

    fn is_empty(&self) -> bool {
        self.cells.iter().all(|(text, _)| text.is_empty())
    }
}

/// A longer table is not fitted to a terminal's width, and takes a tenth of the memory and time.
const MANY: usize = 2_000;

/// The table; columns with nothing in them are left out.
pub fn grid(columns: &[Column], look: Look) -> String {
    let columns: Vec<&Column> = columns.iter().filter(|column| !column.is_empty()).collect();
    let rows = columns.iter().map(|column| column.cells.len()).max().unwrap_or(0);
    if rows > MANY {
        return plain(&columns, rows);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    // Whether it is a terminal, and how wide, was found out once, by whoever asks for the table.
    table.force_no_tty();
    if look.colour {
        table.enforce_styling();
    }
    if let Some(width) = look.width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    let heading = |text: &str| if look.colour { Cell::new(text).add_attribute(Attribute::Bold) } else { Cell::new(text) };
    table.set_header(columns.iter().map(|column| heading(&column.heading)));
    for row in 0..rows {
        table.add_row(columns.iter().map(|column| column.cells.get(row).map_or_else(|| Cell::new(""), |cell| shown(cell, look))));
    }
    let last = columns.len().saturating_sub(1);
    for (at, column) in columns.iter().enumerate() {
        if let Some(set) = table.column_mut(at) {
            set.set_padding((0, if at == last { 0 } else { 2 }));
            if column.number {
                set.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table.trim_fmt()
}

/// The same without colours and line breaks.
fn plain(columns: &[&Column], rows: usize) -> String {
    let texts = |column: &Column, row: usize| column.cells.get(row).map(|(text, _)| printable(text)).unwrap_or_default();
    let width = |column: &Column| (0..rows).map(|row| texts(column, row).chars().count()).chain([column.heading.len()]).max().unwrap_or(0);
    let widths: Vec<usize> = columns.iter().map(|column| width(column)).collect();
    let mut table = String::new();
    let mut line = |text: &dyn Fn(&Column) -> String| {
        let begin = table.len();
        for (column, width) in columns.iter().zip(&widths) {
            let text = text(column);
            let gap = " ".repeat(width.saturating_sub(text.chars().count()));
            let (before, after) = if column.number { (gap.as_str(), "") } else { ("", gap.as_str()) };
            table.extend([before, text.as_str(), after, "  "]);
        }
        let end = begin + table[begin..].trim_end().len();
        table.truncate(end);
        table.push('\n');
    };
    line(&|column| column.heading.clone());
    for row in 0..rows {
        line(&|column| texts(column, row));
    }
    table.truncate(table.trim_end().len());
    table
}

fn shown((text, tone): &(String, Tone), look: Look) -> Cell {
    let cell = Cell::new(printable(text));
    let colour = match tone {
        Tone::Plain => return cell,
        Tone::Good => Color::Green,
        Tone::Doubtful => Color::Yellow,
        Tone::Bad => Color::Red,
    };
    if look.colour { cell.fg(colour) } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_empty_ones_are_left_out() {
        let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let columns = vec![
            Column::words("name", text(&["a\nb", "longer"])),
            Column::words("note", text(&["", ""])),
            Column::numbers("rows", text(&["5", "1,000"])),
            Column::toned("state", [("done".to_owned(), Tone::Good), ("failed".to_owned(), Tone::Bad)]),
        ];
        let expected = "NAME     ROWS  STATE\na\\nb        5  done\nlonger  1,000  failed";
        assert_eq!(grid(&columns, Look::default()), expected);
        let rows = columns.iter().map(|column| column.cells.len()).max().expect("rows");
        assert_eq!(plain(&columns.iter().filter(|column| !column.is_empty()).collect::<Vec<_>>(), rows), expected);
        assert!(grid(&columns, Look { colour: true, width: None }).contains("\u{1b}["));
    }
}
