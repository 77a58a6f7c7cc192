//! Tables, as kubectl has them: columns by the widest cell, two blanks between.

/// A table; all cells are harmless already, and of one line.
#[derive(Clone, Debug, Default)]
pub struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

/// What is shown, and how wide that is: colours take no room.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    width: usize,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { width: text.chars().count(), text }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl Cell {
    /// `shown`, which reads as `text`.
    pub fn styled(text: &str, shown: String) -> Self {
        Self { width: text.chars().count(), text: shown }
    }
}

impl Table {
    /// A table with these columns.
    pub fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The table, its head first.
    pub fn text(&self) -> String {
        let head: Vec<Cell> = self.head.iter().map(|name| Cell::from(*name)).collect();
        let all = || std::iter::once(&head).chain(&self.rows);
        let widths: Vec<usize> = (0..self.head.len())
            .map(|column| all().filter_map(|row| row.get(column)).map(|cell| cell.width).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for row in all() {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&cell.text);
                line.push_str(&" ".repeat(width - cell.width + 2));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_whatever_their_colour() {
        let mut table = Table::new(&["NAME", "STATUS"]);
        table.row(vec!["größe".into(), Cell::styled("failed", "\u{1b}[31mfailed\u{1b}[0m".into())]);
        table.row(vec!["x".into(), "completed".into()]);
        assert_eq!(table.text(), "NAME   STATUS\ngröße  \u{1b}[31mfailed\u{1b}[0m\nx      completed\n");
    }
}
