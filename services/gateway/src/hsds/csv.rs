//! Tables as RFC 4180 has them: quoted fields may hold commas, line ends and doubled quotes.

/// A row: the line on which it begins, counted from 1, and its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) line: u64,
    pub(super) fields: Vec<String>,
}

/// The rows of a text, without those that are empty, and the lines that are no rows: with a quote
/// that nothing ends, or with text behind one. What follows such a line is read on.
pub(super) fn rows(text: &str) -> (Vec<Row>, Vec<u64>) {
    let (mut rows, mut broken, mut line) = (Vec::new(), Vec::new(), 1);
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    while !rest.is_empty() {
        let (fields, length) = row(rest).unwrap_or_else(|| {
            broken.push(line);
            (Vec::new(), rest.find(['\n', '\r']).map_or(rest.len(), |end| end + 1))
        });
        if fields.iter().any(|field| !field.is_empty()) {
            rows.push(Row { line, fields });
        }
        let (taken, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        line += u64::try_from(line_ends(taken, after)).unwrap_or_default();
        rest = after;
    }
    (rows, broken)
}

/// How many lines end in a text, with whichever signs; what comes after it may have the second.
fn line_ends(text: &str, after: &str) -> usize {
    let is_split = text.ends_with('\r') && after.starts_with('\n');
    let returns = text.matches('\r').count() - text.matches("\r\n").count();
    text.matches('\n').count() + returns - usize::from(is_split)
}

/// The fields of the row with which a text begins, and how many bytes it has. None if its quotes
/// are not as they must be.
fn row(text: &str) -> Option<(Vec<String>, usize)> {
    let (mut fields, mut field) = (Vec::new(), String::new());
    let (mut is_quoted, mut was_quoted) = (false, false);
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let next = characters.peek().map(|(_, next)| *next);
        match character {
            '"' if is_quoted && next == Some('"') => {
                field.push('"');
                characters.next();
            }
            '"' if is_quoted => (is_quoted, was_quoted) = (false, true),
            other if is_quoted => field.push(other),
            ',' => {
                fields.push(std::mem::take(&mut field));
                was_quoted = false;
            }
            '\r' if next == Some('\n') => {}
            '\n' | '\r' => {
                fields.push(field);
                return Some((fields, at + 1));
            }
            ' ' | '\t' if was_quoted => {}
            _ if was_quoted => return None,
            '"' if field.is_empty() => is_quoted = true,
            other => field.push(other),
        }
    }
    fields.push(field);
    (!is_quoted).then_some((fields, text.len()))
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
            rows(text).0,
            [row(1, ["id", "name"]), row(2, ["1", "a \"b\", c\nd"]), row(5, ["2", ""])]
        );
        assert_eq!(rows("a,b").0, [row(1, ["a", "b"])], "without a last line end");
    }

    #[test]
    fn rows_know_their_lines_however_these_end() {
        for end in ["\n", "\r\n", "\r"] {
            let text = format!("id,name{end}1,\"a{end}b\"{end}{end}2,c{end}3,\"{end}4,d{end}");
            let (rows, broken) = rows(&text);
            let lines: Vec<u64> = rows.iter().map(|row| row.line).collect();
            assert_eq!((lines, broken), (vec![1, 2, 5, 7], vec![6]), "{end:?}");
        }
    }

    #[test]
    fn a_line_whose_quotes_are_wrong_is_told_and_the_others_are_read() {
        let table = |broken: &str| format!("id,name\n1,a\n{broken}\n3,\"c\"\n4,d\n");
        for broken in ["2,\"b", "2,\"b\"c", "2,\"b, \"\"c"] {
            let (rows, lines) = rows(&table(broken));
            let ids: Vec<&str> = rows.iter().map(|row| row.fields[0].as_str()).collect();
            assert_eq!((ids, lines), (vec!["id", "1", "3", "4"], vec![3]), "{broken}");
        }
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
            let read: Vec<Vec<String>> = rows(&text).0.into_iter().map(|row| row.fields).collect();
            let said: Vec<Vec<String>> =
                table.into_iter().filter(|row| row.iter().any(|f| !f.is_empty())).collect();
            prop_assert_eq!(read, said);
        }
    }
}
