//! Results as Parquet files: the same tables as the CSV ones.

use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

use super::file::{Study, StudyError};
use super::results::Results;

/// A column: its name and all its values.
enum Column {
    Text(String, Vec<String>),
    Whole(String, Vec<i64>),
    Real(String, Vec<Option<f64>>),
}

/// The table of numbers.
///
/// # Errors
/// It can't be written.
pub fn rows_parquet(study: &Study, results: &Results) -> Result<Vec<u8>, StudyError> {
    let names = results.columns();
    let rows = results.rows(&names);
    let text = |name: &str, of: &dyn Fn(usize) -> String| {
        Column::Text(name.to_owned(), (0..rows.len()).map(of).collect())
    };
    let mut columns = vec![
        text("config", &|row| rows[row].run.config.clone()),
        text("series", &|row| rows[row].run.series.clone()),
    ];
    for (number, axis) in study.axis.iter().enumerate() {
        let values = rows.iter().map(|row| row.run.at.get(number).copied()).collect();
        columns.push(Column::Real(axis.field.clone(), values));
    }
    columns.push(Column::Whole("seed".to_owned(), rows.iter().map(|row| row.run.seed as i64).collect()));
    columns.push(text("class", &|row| rows[row].class.to_owned()));
    for (number, name) in names.iter().enumerate() {
        // An axis may have a metric's name; a column has one.
        let name = if study.axis.iter().any(|a| a.field == *name) {
            format!("{name}_measured")
        } else {
            (*name).to_owned()
        };
        columns.push(Column::Real(name, rows.iter().map(|row| row.values[number]).collect()));
    }
    file(&study.name, columns)
}

/// The table of curves; nothing if there are none.
///
/// # Errors
/// It can't be written.
pub fn curves_parquet(study: &Study, results: &Results) -> Result<Option<Vec<u8>>, StudyError> {
    let (mut config, mut series, mut class, mut name) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut seed, mut xs, mut ys) = (Vec::new(), Vec::new(), Vec::new());
    let mut axes: Vec<Vec<Option<f64>>> = vec![Vec::new(); study.axis.len()];
    for run in &results.runs {
        for curve in &run.ran.curves {
            for (x, y) in &curve.points {
                config.push(run.config.clone());
                series.push(run.series.clone());
                axes.iter_mut().zip(&run.at).for_each(|(axis, at)| axis.push(Some(*at)));
                seed.push(run.seed as i64);
                class.push(curve.class.clone());
                name.push(curve.name.clone());
                xs.push(Some(*x));
                ys.push(Some(*y));
            }
        }
    }
    if xs.is_empty() {
        return Ok(None);
    }
    let mut columns = vec![Column::Text("config".into(), config), Column::Text("series".into(), series)];
    columns.extend(study.axis.iter().zip(axes).map(|(axis, at)| Column::Real(axis.field.clone(), at)));
    columns.extend([
        Column::Whole("seed".into(), seed),
        Column::Text("class".into(), class),
        Column::Text("curve".into(), name),
        Column::Real("x".into(), xs),
        Column::Real("y".into(), ys),
    ]);
    file(&study.name, columns).map(Some)
}

fn file(study: &str, columns: Vec<Column>) -> Result<Vec<u8>, StudyError> {
    write(columns).map_err(|error| StudyError::Output {
        what: format!("the Parquet table of {study}"),
        problem: error.to_string(),
    })
}

fn write(columns: Vec<Column>) -> Result<Vec<u8>, ParquetError> {
    let fields = columns.iter().map(field).collect::<Result<Vec<_>, ParquetError>>()?;
    let schema = Type::group_type_builder("results")
        .with_fields(fields.into_iter().map(Arc::new).collect())
        .build()?;
    // The writer's own name and version would make the bytes those of a version of it.
    let properties = WriterProperties::builder().set_created_by("ohm study".to_owned()).build();
    let mut writer = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    for column in columns {
        let Some(mut out) = group.next_column()? else { break };
        match column {
            Column::Text(_, values) => {
                let values: Vec<ByteArray> = values.iter().map(|v| ByteArray::from(v.as_str())).collect();
                out.typed::<ByteArrayType>().write_batch(&values, None, None)?;
            }
            Column::Whole(_, values) => {
                out.typed::<Int64Type>().write_batch(&values, None, None)?;
            }
            Column::Real(_, values) => {
                let there: Vec<i16> = values.iter().map(|v| i16::from(v.is_some())).collect();
                let values: Vec<f64> = values.into_iter().flatten().collect();
                out.typed::<DoubleType>().write_batch(&values, Some(&there), None)?;
            }
        }
        out.close()?;
    }
    group.close()?;
    writer.into_inner()
}

fn field(column: &Column) -> Result<Type, ParquetError> {
    let (name, physical, repetition, logical) = match column {
        Column::Text(name, _) => {
            (name, Physical::BYTE_ARRAY, Repetition::REQUIRED, Some(LogicalType::String))
        }
        Column::Whole(name, _) => (name, Physical::INT64, Repetition::REQUIRED, None),
        Column::Real(name, _) => (name, Physical::DOUBLE, Repetition::OPTIONAL, None),
    };
    Type::primitive_type_builder(name, physical)
        .with_repetition(repetition)
        .with_logical_type(logical)
        .build()
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let columns = vec![
            Column::Text("name".into(), vec!["a".into(), "b".into()]),
            Column::Whole("seed".into(), vec![7, -1]),
            Column::Real("busy".into(), vec![Some(0.25), None]),
        ];
        let reader = SerializedFileReader::new(bytes_of(write(columns).unwrap())).unwrap();
        let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!((rows[0].get_string(0).unwrap().as_str(), rows[0].get_long(1).unwrap()), ("a", 7));
        assert_eq!(rows[0].get_double(2).unwrap(), 0.25);
        assert!(rows[1].get_double(2).is_err(), "nothing was measured there");
    }

    fn bytes_of(bytes: Vec<u8>) -> bytes::Bytes {
        bytes::Bytes::from(bytes)
    }
}
