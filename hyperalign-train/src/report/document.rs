//! What a report consists of, whatever form it is written in.
//!
//! Texts are plain: what means something to HTML or Markdown is escaped by whoever writes them.

/// A report.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Document {
    /// Its title.
    pub title: String,
    /// What stands before the first section.
    pub lead: Vec<Block>,
    /// Its sections.
    pub sections: Vec<Section>,
}

/// A part of a report under a heading.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Section {
    /// The heading.
    pub title: String,
    /// What is in it.
    pub blocks: Vec<Block>,
}

/// A piece of a section.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// A heading below the section's.
    Heading(String),
    /// A paragraph.
    Text(String),
    /// A paragraph that must not be overlooked.
    Alarm(String),
    /// Lines of a list.
    List(Vec<String>),
    /// A table.
    Table(Table),
    /// A figure.
    Figure(Figure),
    /// A grid of pictures.
    Pictures(Pictures),
    /// Grids that are looked at one after the other.
    Series(Series),
}

/// Grids of the same pictures at one time after another.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    /// What they show, in a few words.
    pub title: String,
    /// The grids, whose titles are short: they are what one is chosen by.
    pub grids: Vec<Pictures>,
    /// How to read them.
    pub reading: String,
}

/// What the cells of a table are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cells {
    /// Numbers, which stand under each other.
    #[default]
    Numbers,
    /// Sentences, which take several lines.
    Words,
}

/// A table. The first cell of a row names it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// What it shows, in a few words.
    pub caption: String,
    /// What its cells are.
    pub cells: Cells,
    /// Over the columns.
    pub header: Vec<String>,
    /// The rows.
    pub rows: Vec<TableRow>,
    /// How to read it, in a line.
    pub reading: String,
}

/// A row of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum TableRow {
    /// A heading over the rows below it.
    Group(String),
    /// A cell for each column.
    Cells(Vec<String>),
}

/// A drawing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figure {
    /// Its file, without the ending.
    pub name: String,
    /// What it shows, in a few words.
    pub title: String,
    /// An SVG document.
    pub svg: String,
    /// How to read it, in a line.
    pub reading: String,
}

/// A grid of pictures.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pictures {
    /// Its file, without the ending.
    pub name: String,
    /// What it shows, in a few words.
    pub title: String,
    /// A PNG file.
    pub png: Vec<u8>,
    /// By which rule they were chosen, and how to read it.
    pub reading: String,
}

impl Document {
    /// All drawings.
    pub fn figures(&self) -> impl Iterator<Item = &Figure> {
        self.blocks().filter_map(|block| match block {
            Block::Figure(figure) => Some(figure),
            _ => None,
        })
    }

    /// All grids of pictures.
    pub fn pictures(&self) -> impl Iterator<Item = &Pictures> {
        self.blocks().flat_map(|block| match block {
            Block::Pictures(pictures) => std::slice::from_ref(pictures),
            Block::Series(series) => &series.grids,
            _ => &[],
        })
    }

    fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.lead.iter().chain(self.sections.iter().flat_map(|section| &section.blocks))
    }
}
