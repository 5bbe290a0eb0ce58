//! Tables as RFC 4180 has them: quoted fields may hold commas, line ends and doubled quotes.

/// A row: the line on which it begins, counted from 1, and its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) line: u64,
    pub(super) fields: Vec<String>,
}

/// The rows of a text, without those that are empty. A quote that nothing ends runs to the end.
pub(super) fn rows(text: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = Row { line: 1, fields: Vec::new() };
    let (mut field, mut line, mut is_quoted) = (String::new(), 1, false);
    let mut characters = text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable();
    while let Some(character) = characters.next() {
        line += u64::from(character == '\n');
        match character {
            '"' if is_quoted && characters.peek() == Some(&'"') => {
                field.push('"');
                characters.next();
            }
            '"' if is_quoted => is_quoted = false,
            '"' if field.is_empty() => is_quoted = true,
            ',' if !is_quoted => row.fields.push(std::mem::take(&mut field)),
            '\r' if !is_quoted && characters.peek() == Some(&'\n') => {}
            '\n' | '\r' if !is_quoted => {
                row.fields.push(std::mem::take(&mut field));
                rows.push(std::mem::replace(&mut row, Row { line, fields: Vec::new() }));
            }
            other => field.push(other),
        }
    }
    row.fields.push(field);
    rows.push(row);
    rows.retain(|row| row.fields.iter().any(|field| !field.is_empty()));
    rows
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_quoted_and_rows_know_their_lines() {
        let text = "\u{feff}id,name\r\n1,\"a \"\"b\"\", c\nd\"\r\n\r\n2,\n";
        let row =
            |line, fields: [&str; 2]| Row { line, fields: fields.map(str::to_owned).to_vec() };
        assert_eq!(
            rows(text),
            [row(1, ["id", "name"]), row(2, ["1", "a \"b\", c\nd"]), row(5, ["2", ""])]
        );
        assert_eq!(rows("a,b"), [row(1, ["a", "b"])], "without a last line end");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            table in prop::collection::vec(
                prop::collection::vec("[a-z会,\"\r\n ]{0,8}", 3),
                1..6,
            ),
        ) {
            let quoted = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
            let line = |row: &Vec<String>| row.iter().map(quoted).collect::<Vec<_>>().join(",");
            let text: String = table.iter().map(|row| line(row) + "\r\n").collect();
            let read: Vec<Vec<String>> = rows(&text).into_iter().map(|row| row.fields).collect();
            let said: Vec<Vec<String>> =
                table.into_iter().filter(|row| row.iter().any(|f| !f.is_empty())).collect();
            prop_assert_eq!(read, said);
        }
    }
}
