//! A report as Markdown, with its figures as files beside it.

use std::fmt::Write as _;

use super::{Block, Cells, Document, Table, TableRow};

/// The page.
pub fn markdown(document: &Document) -> String {
    let mut page = format!("# {}\n\n", escaped(&document.title));
    document.lead.iter().for_each(|block| write_block(&mut page, block));
    for section in &document.sections {
        let _ = write!(page, "## {}\n\n", escaped(&section.title));
        section.blocks.iter().for_each(|block| write_block(&mut page, block));
    }
    page.truncate(page.trim_end().len());
    page + "\n"
}

fn write_block(page: &mut String, block: &Block) {
    // Writing to a string does not fail.
    let _ = match block {
        Block::Heading(text) => write!(page, "### {}\n\n", escaped(text)),
        Block::Text(text) => write!(page, "{}\n\n", escaped(text)),
        Block::Alarm(text) => write!(page, "> **{}**\n\n", escaped(text)),
        Block::List(lines) => {
            let lines: String = lines.iter().map(|line| format!("- {}\n", escaped(line))).collect();
            writeln!(page, "{lines}")
        }
        Block::Table(table) => {
            write_table(page, table);
            Ok(())
        }
        Block::Figure(figure) => {
            write_picture(page, &figure.title, &figure.name, "svg", &figure.reading)
        }
        Block::Pictures(grid) => write_picture(page, &grid.title, &grid.name, "png", &grid.reading),
        Block::Series(series) => {
            for grid in &series.grids {
                let _ = write_picture(page, &grid.title, &grid.name, "png", "");
            }
            write!(page, "{}\n\n", escaped(&series.reading))
        }
    };
}

fn write_picture(
    page: &mut String,
    title: &str,
    name: &str,
    ending: &str,
    reading: &str,
) -> std::fmt::Result {
    let (title, reading) = (escaped(title), escaped(reading));
    write!(page, "**{title}**\n\n![{title}]({name}.{ending})\n\n{reading}\n\n")
}

fn write_table(page: &mut String, table: &Table) {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let cells =
        |cells: &[String]| -> Vec<String> { cells.iter().map(|cell| escaped(cell)).collect() };
    let rule: Vec<String> = (0..table.header.len())
        .map(|k| match (k, table.cells) {
            (0, _) | (_, Cells::Words) => "---".to_owned(),
            _ => "---:".to_owned(),
        })
        .collect();
    let _ = write!(page, "**{}**\n\n", escaped(&table.caption));
    page.push_str(&line(&cells(&table.header)));
    page.push_str(&line(&rule));
    for row in &table.rows {
        match row {
            TableRow::Cells(row) => page.push_str(&line(&cells(row))),
            TableRow::Group(name) => {
                let mut row = vec![String::new(); table.header.len().max(1)];
                row[0] = format!("*{}*", escaped(name));
                page.push_str(&line(&row));
            }
        }
    }
    let _ = write!(page, "\n{}\n\n", escaped(&table.reading));
}

/// A text in which nothing means anything to Markdown.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' => out.extend(['\\', c]),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // A line end would end a table's row.
            '\n' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Section;

    #[test]
    fn nothing_in_a_text_is_taken_for_markup() {
        let table = Table {
            caption: "a_b".to_owned(),
            header: vec!["x|y".to_owned(), "<z>".to_owned()],
            rows: vec![
                TableRow::Group("g".to_owned()),
                TableRow::Cells(vec!["two\nlines".to_owned(), "1".to_owned()]),
            ],
            reading: "so".to_owned(),
            cells: Cells::Numbers,
        };
        let section = Section { title: "S".to_owned(), blocks: vec![Block::Table(table)] };
        let page = markdown(&Document {
            title: "T".to_owned(),
            lead: vec![Block::List(vec!["one".to_owned()])],
            sections: vec![section],
        });
        let expected = "# T\n\n- one\n\n## S\n\n**a\\_b**\n\n| x\\|y | &lt;z&gt; |\n| --- | ---: |\n\
                        | *g* |  |\n| two lines | 1 |\n\nso\n";
        assert_eq!(page, expected);
    }
}
