//! Writes the catalogue of event types, out of what each message says of itself in the schema,
//! and an `impl Fields` for every message, by which its fields are read by name.

use std::fmt::Write as _;

use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, EnumDescriptor, ExtensionDescriptor,
    FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _, Value,
};

use crate::checks::{PACKAGE, camel_case, identifier};

/// The options of `care/v1/catalogue.proto`, and the one of `must.proto` that says what form a
/// text has.
struct Options {
    event: ExtensionDescriptor,
    said: ExtensionDescriptor,
    family: ExtensionDescriptor,
    must: ExtensionDescriptor,
}

struct EventType {
    name: String,
    message: String,
    of_type: String,
    family: String,
    said: (String, String),
    is_ruled: bool,
    is_draft: bool,
    is_of_facility: bool,
    step: Option<Step>,
}

struct Step {
    of: String,
    from: Vec<String>,
    to: String,
    by_person: bool,
    by_beginner: bool,
}

impl Step {
    /// Whether it begins again what had ended: it leads to where a first step leads, and from a state
    /// that lies behind that.
    fn begins_again(&self, types: &[EventType]) -> bool {
        let course =
            || types.iter().filter_map(|one| one.step.as_ref()).filter(|one| one.of == self.of);
        let mut reached = vec![&self.to];
        for _ in course() {
            let next = course().filter(|next| next.from.iter().any(|of| reached.contains(&of)));
            reached.extend(next.map(|next| &next.to).collect::<Vec<_>>());
        }
        let is_first = |step: &Step| step.from.iter().any(|from| from == "none");
        course().any(|first| is_first(first) && first.to == self.to)
            && !self.from.contains(&self.to)
            && self.from.iter().any(|from| reached.contains(&from))
    }
}

/// The catalogue, and the fields of all messages.
pub(crate) fn generate(
    pool: &DescriptorPool,
) -> Result<(String, String), Box<dyn std::error::Error>> {
    let extension = |name: &str| {
        let name = format!("{PACKAGE}.{name}");
        pool.get_extension_by_name(&name).ok_or(format!("no option `{name}`"))
    };
    let options = Options {
        event: extension("event")?,
        said: extension("said")?,
        family: extension("family")?,
        must: extension("must")?,
    };
    let mut types = Vec::new();
    let mut code = String::new();
    for message in pool.all_messages() {
        if message.package_name() == PACKAGE && !message.is_map_entry() {
            types.extend(options.event_types(&message)?);
            options.write_fields(&message, &mut code)?;
        }
    }
    for enumeration in pool.all_enums() {
        // Those that no field has alone are told nowhere.
        if code.contains(&format!("{}(self", words_fn(&enumeration))) {
            options.write_words(&enumeration, &mut code)?;
        }
    }
    // In the order of families, and of the names in them: of files and messages, nobody asks.
    types.sort_by(|one, other| one.of_type.cmp(&other.of_type));
    let mut catalogue = String::new();
    write_catalogue(&types, &mut catalogue)?;
    Ok((catalogue, code))
}

impl Options {
    fn event_types(&self, message: &MessageDescriptor) -> Result<Vec<EventType>, String> {
        let of_file = message.parent_file().options().get_extension(&self.family).as_enum_number();
        let declared = message.options().get_extension(&self.event).into_owned();
        let Value::List(declared) = declared else { return Ok(Vec::new()) };
        let declared = declared.iter().filter_map(Value::as_message);
        declared.map(|event| read_event_type(message, event, of_file)).collect()
    }

    /// The fields of a message by their names, told apart by what they are to a reader.
    fn write_fields(&self, message: &MessageDescriptor, code: &mut String) -> std::fmt::Result {
        let mut arms = String::new();
        let mut names = String::new();
        for field in message.fields() {
            let in_alternative =
                field.containing_oneof().is_some_and(|of| !of.name().starts_with('_'));
            if in_alternative || field.is_map() {
                continue;
            }
            if let Some(value) = self.value(&field) {
                writeln!(arms, "            {:?} => {value},", field.name())?;
                write!(names, "{:?}, ", field.name())?;
            }
        }
        let name = message.name();
        let (of, body) = if arms.is_empty() {
            ("_name", "None".to_owned())
        } else {
            ("name", format!("match name {{\n{arms}            _ => None,\n        }}"))
        };
        writeln!(
            code,
            "impl Fields for v1::{name} {{\n    fn names(&self) -> &'static [&'static str] {{ &[{names}] }}\n    fn field(&self, {of}: &str) -> Option<Value<'_>> {{\n        {body}\n    }}\n}}"
        )
    }

    /// The code that reads a field as a `Value`.
    #[expect(clippy::wildcard_enum_match_arm, reason = "other kinds say nothing to a reader")]
    fn value(&self, field: &FieldDescriptor) -> Option<String> {
        let place = format!("self.{}", identifier(field.name()));
        let is_list = field.cardinality() == Cardinality::Repeated;
        Some(match field.kind() {
            Kind::String if is_list => format!("Some(Value::Texts(&{place}))"),
            Kind::String => format!("Some(Value::{}(&{place}))", self.form(field)),
            Kind::Bool => format!("Some(Value::Flag({place}))"),
            Kind::Uint32 if field.supports_presence() => {
                format!("{place}.map(|value| Value::Number(value.into()))")
            }
            Kind::Uint32 | Kind::Int32 | Kind::Sint32 if !is_list => {
                format!("Some(Value::Number({place}.into()))")
            }
            Kind::Enum(enumeration) if !is_list && enumeration.package_name() == PACKAGE => {
                format!("{}({place}).map(|(ja, en)| Value::Words(ja, en))", words_fn(&enumeration))
            }
            Kind::Message(message) if message.package_name() == PACKAGE => {
                match (message.name(), is_list) {
                    ("Code", true) => {
                        format!("Some(Value::Codes(&{place}, {:?}))", self.code_set(field))
                    }
                    ("Code", false) => format!(
                        "{place}.as_ref().map(|code| Value::Code(code, {:?}))",
                        self.code_set(field)
                    ),
                    ("Participant", true) => format!("Some(Value::People(&{place}))"),
                    ("Observation", true) => format!("Some(Value::Observations(&{place}))"),
                    (_, true) => format!("Some(Value::Many({place}.len()))"),
                    ("Participant", false) => format!("Some(Value::People({place}.as_slice()))"),
                    (
                        name @ ("Organisation" | "Place" | "Quantity" | "ResourceRef"
                        | "Identifier"),
                        false,
                    ) => format!("{place}.as_ref().map(Value::{name})"),
                    (_, false) => {
                        format!("{place}.as_ref().map(|message| Value::Message(message))")
                    }
                }
            }
            _ => return None,
        })
    }

    /// A text is an id, a time or words, as its constraints say.
    fn form(&self, field: &FieldDescriptor) -> &'static str {
        let options = field.options();
        let must = options.get_extension(&self.must);
        let form = must
            .as_message()
            .and_then(|must| must.get_field_by_name("form").and_then(|form| form.as_enum_number()));
        match form {
            Some(1 | 2) => "Id",
            Some(3 | 4) => "Time",
            Some(_) | None => "Text",
        }
    }

    fn code_set(&self, field: &FieldDescriptor) -> String {
        let options = field.options();
        let must = options.get_extension(&self.must);
        must.as_message().map(|must| text(must, "code_set")).unwrap_or_default()
    }

    fn write_words(&self, enumeration: &EnumDescriptor, code: &mut String) -> std::fmt::Result {
        let mut arms = String::new();
        for value in enumeration.values() {
            let options = value.options();
            let said = options.get_extension(&self.said);
            if let Some(said) = said.as_message() {
                let (ja, en) = (text(said, "ja"), text(said, "en"));
                if !ja.is_empty() {
                    writeln!(arms, "        {} => Some(({ja:?}, {en:?})),", value.number())?;
                }
            }
        }
        let name = words_fn(enumeration);
        let value = if arms.is_empty() { "_value" } else { "value" };
        let body = if arms.is_empty() {
            "None".to_owned()
        } else {
            format!("match value {{\n{arms}        _ => None,\n    }}")
        };
        writeln!(
            code,
            "fn {name}({value}: i32) -> Option<(&'static str, &'static str)> {{\n    {body}\n}}"
        )
    }
}

fn read_event_type(
    message: &MessageDescriptor,
    event: &DynamicMessage,
    of_file: Option<i32>,
) -> Result<EventType, String> {
    let own = event.get_field_by_name("family").and_then(|own| own.as_enum_number());
    let number = own.filter(|own| *own != 0).or(of_file).unwrap_or_default();
    let families = event.descriptor().get_field_by_name("family").map(|field| field.kind());
    let family = families.as_ref().and_then(Kind::as_enum).and_then(|of| of.get_value(number));
    let family = family.map(|family| family.name().to_owned()).unwrap_or_default();
    let name = text(event, "name");
    let flag = |of: &DynamicMessage, name: &str| {
        of.get_field_by_name(name).and_then(|flag| flag.as_bool()).unwrap_or(false)
    };
    let step = event.get_field_by_name("step").filter(|_| event.has_field_by_name("step"));
    let step = step.as_ref().and_then(|step| step.as_message()).map(|step| {
        let from = step.get_field_by_name("from");
        let from = from.as_ref().and_then(|from| from.as_list()).unwrap_or_default();
        Step {
            of: text(step, "of"),
            from: from.iter().filter_map(|from| from.as_str().map(str::to_owned)).collect(),
            to: text(step, "to"),
            by_person: flag(step, "by_person"),
            by_beginner: flag(step, "by_beginner"),
        }
    });
    if let Some(step) = &step
        && (message.get_field_by_name(&step.of).is_none()
            || step.to.is_empty()
            || step.from.is_empty())
    {
        return Err(format!("the step of {} is not whole", message.full_name()));
    }
    Ok(EventType {
        name: if name.is_empty() { message.name().to_owned() } else { name },
        message: message.name().to_owned(),
        of_type: text(event, "type"),
        family: camel_case(&family.trim_start_matches("FAMILY_").to_lowercase()),
        said: (text(event, "ja"), text(event, "en")),
        is_ruled: flag(event, "ruled"),
        is_draft: flag(event, "draft"),
        is_of_facility: flag(event, "of_facility"),
        step,
    })
}

fn write_catalogue(types: &[EventType], code: &mut String) -> std::fmt::Result {
    writeln!(code, "catalogue! {{\n    all {{")?;
    for one in types {
        let EventType { name, message, of_type, family, said: (ja, en), .. } = one;
        writeln!(code, "        {name}({message}) = {of_type:?} {family} {ja:?} {en:?},")?;
    }
    writeln!(code, "    }}\n    ruled {{")?;
    for EventType { name, message, .. } in types.iter().filter(|one| one.is_ruled) {
        writeln!(code, "        {name}({message}),")?;
    }
    writeln!(code, "    }}\n    noted {{")?;
    for one in types.iter().filter(|one| !one.is_ruled) {
        let step = match &one.step {
            None => "None".to_owned(),
            Some(step) => {
                let Step { of, from, to, by_person, by_beginner } = step;
                let begins_again = step.begins_again(types);
                format!(
                    "Some(StepOf {{ of: {of:?}, from: &{from:?}, to: {to:?}, by_person: {by_person}, by_beginner: {by_beginner}, begins_again: {begins_again} }})"
                )
            }
        };
        writeln!(code, "        {}: {step},", one.name)?;
    }
    writeln!(code, "    }}\n}}")?;
    let named = |which: fn(&&EventType) -> bool| -> Vec<&str> {
        types.iter().filter(which).map(|one| one.of_type.as_str()).collect()
    };
    writeln!(code, "const DRAFTS: &[&str] = &{:?};", named(|one| one.is_draft))?;
    writeln!(code, "const OF_FACILITY: &[&str] = &{:?};", named(|one| one.is_of_facility))
}

fn text(message: &DynamicMessage, name: &str) -> String {
    let field = message.get_field_by_name(name);
    field.as_ref().and_then(|field| field.as_str()).unwrap_or_default().to_owned()
}

fn words_fn(enumeration: &EnumDescriptor) -> String {
    format!("words_of_{}", crate::checks::snake_case(enumeration.name()))
}
