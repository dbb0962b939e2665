//! Rows of a table in a file: comma-separated, packed with gzip or not, each mistake told by file, line and column.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bench::units;
use flate2::read::MultiGzDecoder;

use crate::bounds::{FILE_BYTES_MAX, ROW_BYTES_MAX, ROWS_MAX};

/// A trace that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The directory has none of the known files.
    #[error("{dir} holds no trace: expected {expected}; docs/demo.md says where to get it")]
    NotFound {
        /// The directory.
        dir: String,
        /// What was looked for.
        expected: String,
    },
    /// A file can't be opened.
    #[error("can't open {path}: {source}")]
    Open {
        /// The file.
        path: String,
        /// The reason.
        source: io::Error,
    },
    /// A row is no row of the table.
    #[error("{path}, line {line}: {problem}")]
    Row {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        problem: String,
    },
    /// A field has a value it can't have.
    #[error("{path}, line {line}, column {column} ({name}): {problem}")]
    Field {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u64,
        /// The column, from 1.
        column: usize,
        /// The column's name.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

/// The rows of one file.
pub(crate) struct Rows {
    path: PathBuf,
    columns: &'static [&'static str],
    reader: csv::Reader<Box<dyn Read>>,
    row: csv::StringRecord,
    rows: u64,
}

/// A column by its position, from 0.
pub(crate) type Column = usize;

impl Rows {
    /// Opens a table with these columns. With `header`, the first row must name exactly them.
    pub(crate) fn open(
        path: &Path,
        columns: &'static [&'static str],
        header: bool,
    ) -> Result<Rows, TraceError> {
        let bytes =
            unpacked(path).map_err(|source| TraceError::Open { path: path.display().to_string(), source })?;
        let reader = csv::ReaderBuilder::new().has_headers(header).from_reader(bytes);
        let mut rows =
            Rows { path: path.to_owned(), columns, reader, row: csv::StringRecord::new(), rows: 0 };
        if header {
            rows.check_header()?;
        }
        Ok(rows)
    }

    fn check_header(&mut self) -> Result<(), TraceError> {
        let found = match self.reader.headers() {
            Ok(found) => found.iter().collect::<Vec<_>>().join(","),
            Err(error) => return Err(self.unreadable(&error)),
        };
        let wanted = self.columns.join(",");
        if found == wanted {
            return Ok(());
        }
        Err(self.row_error(1, format!("the columns are {:?}, expected {wanted:?}", clip(&found))))
    }

    /// Goes to the next row; false at the end.
    pub(crate) fn next(&mut self) -> Result<bool, TraceError> {
        match self.reader.read_record(&mut self.row) {
            Ok(false) => return Ok(false),
            Ok(true) => {}
            Err(error) => return Err(self.unreadable(&error)),
        }
        self.rows += 1;
        if self.rows > ROWS_MAX {
            return Err(self.row_error(self.line(), format!("more than {ROWS_MAX} rows, the bound")));
        }
        if self.row.len() != self.columns.len() {
            let problem = format!("{} fields, expected {}", self.row.len(), self.columns.len());
            return Err(self.row_error(self.line(), problem));
        }
        Ok(true)
    }

    /// A field as text.
    pub(crate) fn text(&self, column: Column) -> &str {
        &self.row[column]
    }

    /// A field as a whole number.
    pub(crate) fn number<T: FromStr>(&self, column: Column) -> Result<T, TraceError> {
        let text = self.text(column);
        text.parse()
            .map_err(|_| self.field_error(column, format!("{:?} is not a whole number in range", clip(text))))
    }

    /// A field as a whole number, or nothing when it is empty.
    pub(crate) fn optional<T: FromStr>(&self, column: Column) -> Result<Option<T>, TraceError> {
        if self.text(column).is_empty() { Ok(None) } else { self.number(column).map(Some) }
    }

    /// A field as a decimal number, zero or more.
    pub(crate) fn decimal(&self, column: Column) -> Result<f64, TraceError> {
        let text = self.text(column);
        let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
        number.ok_or_else(|| {
            self.field_error(column, format!("{:?} is not a decimal number, zero or more", clip(text)))
        })
    }

    /// A field as an amount of a resource of which 1.0 is `one` units.
    pub(crate) fn amount(&self, column: Column, one: u64) -> Result<u64, TraceError> {
        units::amount(self.text(column), one).map_err(|e| self.field_error(column, e.to_string()))
    }

    /// An error about a field.
    pub(crate) fn field_error(&self, column: Column, problem: String) -> TraceError {
        TraceError::Field {
            path: self.path.display().to_string(),
            line: self.line(),
            column: column + 1,
            name: self.columns[column].to_owned(),
            problem,
        }
    }

    fn row_error(&self, line: u64, problem: String) -> TraceError {
        TraceError::Row { path: self.path.display().to_string(), line, problem }
    }

    fn line(&self) -> u64 {
        self.row.position().map_or(0, csv::Position::line)
    }

    fn unreadable(&self, error: &csv::Error) -> TraceError {
        // The reader stands where the row it could not read begins.
        let line = error.position().map_or_else(|| self.reader.position().line(), csv::Position::line);
        let problem = match error.kind() {
            csv::ErrorKind::Io(source) => format!("can't read on: {source}"),
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                format!("{len} fields, expected {expected_len}")
            }
            csv::ErrorKind::Utf8 { .. } => "not UTF-8 text".to_owned(),
            _ => error.to_string(),
        };
        self.row_error(line, problem)
    }
}

/// The bytes of a file, if it has no more than this many.
pub(crate) fn bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let problem = format!("it has more than {bytes_max} bytes, the bound");
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    Ok(bytes)
}

/// The bytes of a table, unpacked if its name ends with `.gz`: no more than the bound, and in no line too long.
pub(crate) fn unpacked(path: &Path) -> io::Result<Box<dyn Read>> {
    let file = File::open(path)?;
    let packed = path.extension().is_some_and(|e| e == "gz");
    let bytes: Box<dyn Read> =
        if packed { Box::new(MultiGzDecoder::new(BufReader::new(file))) } else { Box::new(file) };
    Ok(Box::new(ShortLines { inner: bytes.take(FILE_BYTES_MAX), in_line: 0 }))
}

/// Refuses a line over the bound before it is all in memory.
struct ShortLines<R> {
    inner: R,
    in_line: usize,
}

impl<R: Read> Read for ShortLines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        for line in buffer[..n].split_inclusive(|b| *b == b'\n') {
            self.in_line += line.len();
            if self.in_line > ROW_BYTES_MAX {
                let problem = format!("a line of more than {ROW_BYTES_MAX} bytes, the bound");
                return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
            }
            if line.ends_with(b"\n") {
                self.in_line = 0;
            }
        }
        Ok(n)
    }
}

/// The beginning of a text, for messages.
pub(crate) fn clip(text: &str) -> &str {
    text.char_indices().nth(80).map_or(text, |(at, _)| &text[..at])
}
