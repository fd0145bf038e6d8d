//! A report as one page of HTML that needs nothing else: no network, no script, no file beside it.

use std::fmt::Write as _;

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{Block, Cells, Document, Section, Series, Table, TableRow};

const STYLE: &str = include_str!("style.css");

/// The page.
pub fn html(document: &Document) -> String {
    let title = escaped(&document.title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#main\">To the report</a>\n\
         <header><h1>{title}</h1></header>\n"
    );
    // Writing to a string does not fail.
    let _ = writeln!(page, "<nav aria-label=\"Sections\"><ul>");
    for (k, section) in document.sections.iter().enumerate() {
        let _ = writeln!(page, "<li><a href=\"#s{k}\">{}</a></li>", escaped(&section.title));
    }
    let _ = writeln!(page, "</ul></nav>\n<main id=\"main\">");
    document.lead.iter().for_each(|block| write_block(&mut page, block));
    for (k, Section { title, blocks }) in document.sections.iter().enumerate() {
        let title = escaped(title);
        let _ = writeln!(page, "<section aria-labelledby=\"s{k}\"><h2 id=\"s{k}\">{title}</h2>");
        blocks.iter().for_each(|block| write_block(&mut page, block));
        let _ = writeln!(page, "</section>");
    }
    page + "</main>\n</body>\n</html>\n"
}

fn write_block(page: &mut String, block: &Block) {
    let _ = match block {
        Block::Heading(text) => writeln!(page, "<h3>{}</h3>", escaped(text)),
        Block::Text(text) => writeln!(page, "<p>{}</p>", escaped(text)),
        Block::Alarm(text) => {
            writeln!(page, "<p class=\"alarm\" role=\"alert\">{}</p>", escaped(text))
        }
        Block::List(lines) => {
            let lines = lines.iter().map(|line| format!("<li>{}</li>\n", escaped(line)));
            writeln!(page, "<ul>\n{}</ul>", lines.collect::<String>())
        }
        Block::Table(table) => {
            write_table(page, table);
            Ok(())
        }
        Block::Figure(figure) => {
            let title = escaped(&figure.title);
            writeln!(
                page,
                "<figure>\n<div class=\"scroll\" tabindex=\"0\" role=\"img\" aria-label=\"{title}\">\
                 {}</div>\n<figcaption><strong>{title}.</strong> {}</figcaption>\n</figure>",
                figure.svg,
                escaped(&figure.reading)
            )
        }
        Block::Series(series) => {
            write_series(page, series);
            Ok(())
        }
        Block::Pictures(grid) => {
            let (title, png) = (escaped(&grid.title), BASE64_STANDARD.encode(&grid.png));
            writeln!(
                page,
                "<figure>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" \
                 aria-label=\"{title}\"><img alt=\"{title}\" \
                 src=\"data:image/png;base64,{png}\"></div>\n\
                 <figcaption><strong>{title}.</strong> {}</figcaption>\n</figure>",
                escaped(&grid.reading)
            )
        }
    };
}

/// Radio buttons of which each shows its grid: the arrow keys go through them, and no script is needed.
fn write_series(page: &mut String, series: &Series) {
    let title = escaped(&series.title);
    let group = series.grids.first().map_or("", |grid| grid.name.as_str());
    let last = series.grids.len().saturating_sub(1);
    let _ = writeln!(page, "<figure>\n<fieldset class=\"series\">\n<legend>{title}</legend>");
    for (k, grid) in series.grids.iter().enumerate() {
        let (own, png) = (escaped(&grid.title), BASE64_STANDARD.encode(&grid.png));
        let checked = if k == last { " checked" } else { "" };
        let _ = writeln!(
            page,
            "<input type=\"radio\" name=\"{group}\" id=\"{name}\"{checked}>\
             <label for=\"{name}\">{own}</label>\n\
             <div class=\"scroll\" role=\"region\" aria-label=\"{title}, {own}\">\
             <img alt=\"{title}, {own}\" src=\"data:image/png;base64,{png}\"></div>",
            name = grid.name,
        );
    }
    let reading = escaped(&series.reading);
    let _ = writeln!(
        page,
        "</fieldset>\n<figcaption><strong>{title}.</strong> {reading}</figcaption>\n</figure>"
    );
}

fn write_table(page: &mut String, table: &Table) {
    let caption = escaped(&table.caption);
    // Focusable, so that a wide table can be scrolled from the keyboard.
    let _ = writeln!(
        page,
        "<figure>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\">\n\
         <table{}>\n<caption>{caption}</caption>\n<thead><tr>{}</tr></thead>\n<tbody>",
        match table.cells {
            Cells::Words => " class=\"words\"",
            Cells::Numbers => "",
        },
        table
            .header
            .iter()
            .map(|h| format!("<th scope=\"col\">{}</th>", escaped(h)))
            .collect::<String>()
    );
    for row in &table.rows {
        let _ = match row {
            TableRow::Group(name) => writeln!(
                page,
                "<tr class=\"group\"><th scope=\"rowgroup\" colspan=\"{}\">{}</th></tr>",
                table.header.len(),
                escaped(name)
            ),
            TableRow::Cells(cells) => {
                let (name, rest) = cells.split_first().map_or(("", &[][..]), |(n, r)| (n, r));
                let rest = rest.iter().map(|cell| format!("<td>{}</td>", escaped(cell)));
                let rest: String = rest.collect();
                writeln!(page, "<tr><th scope=\"row\">{}</th>{rest}</tr>", escaped(name))
            }
        };
    }
    let reading = escaped(&table.reading);
    let _ =
        writeln!(page, "</tbody>\n</table>\n</div>\n<figcaption>{reading}</figcaption>\n</figure>");
}

/// A text in which nothing means anything to HTML.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Figure, Pictures};

    #[test]
    fn a_page_needs_nothing_else_and_escapes_what_it_is_given() {
        let blocks = vec![
            Block::Text("a <b> & \"c\"".to_owned()),
            Block::Table(Table {
                caption: "t".to_owned(),
                header: vec!["x".to_owned(), "y".to_owned()],
                rows: vec![
                    TableRow::Group("g".to_owned()),
                    TableRow::Cells(vec!["<script>".to_owned(), "1".to_owned()]),
                ],
                ..Table::default()
            }),
            Block::Figure(Figure { svg: "<svg></svg>".to_owned(), ..Figure::default() }),
            Block::Pictures(Pictures { png: vec![1, 2, 3], ..Pictures::default() }),
            Block::Series(Series {
                title: "s".to_owned(),
                grids: ["g-1", "g-2"]
                    .map(|name| Pictures { name: name.to_owned(), ..Pictures::default() })
                    .into(),
                ..Series::default()
            }),
        ];
        let section = Section { title: "One".to_owned(), blocks };
        let page = html(&Document { sections: vec![section], ..Document::default() });
        assert!(page.contains("<p>a &lt;b&gt; &amp; &quot;c&quot;</p>"));
        assert!(page.contains("<th scope=\"row\">&lt;script&gt;</th><td>1</td>"));
        assert!(
            page.contains("<a href=\"#s0\">One</a>") && page.contains("<h2 id=\"s0\">One</h2>")
        );
        assert!(page.contains("src=\"data:image/png;base64,AQID\""));
        // The last of a series is shown.
        assert!(page.contains("name=\"g-1\" id=\"g-1\">"), "{page}");
        assert!(page.contains("name=\"g-1\" id=\"g-2\" checked>"), "{page}");
        for outside in ["http:", "https:", "<script", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
