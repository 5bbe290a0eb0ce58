//! Writes `impl Check` for every message, out of the `must` options in the schema, and
//! `impl CommandRequest` for every request that is a context and an event.

use std::fmt::Write as _;

use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind,
    MessageDescriptor, OneofDescriptor, Value,
};

pub(crate) const PACKAGE: &str = "care.v1";

/// The options of `care/v1/must.proto`, found in the schema that uses them.
struct Options {
    must: ExtensionDescriptor,
    must_be_chosen: ExtensionDescriptor,
}

pub(crate) fn generate(pool: &DescriptorPool) -> Result<String, Box<dyn std::error::Error>> {
    let extension =
        |name: &str| pool.get_extension_by_name(name).ok_or(format!("no option `{name}`"));
    let options = Options {
        must: extension("care.v1.must")?,
        must_be_chosen: extension("care.v1.must_be_chosen")?,
    };
    let mut code = String::new();
    for message in pool.all_messages() {
        if message.package_name() == PACKAGE && !message.is_map_entry() {
            for field in message.fields() {
                options.must(&field).fits(&field)?;
            }
            options.write_message(&message, &mut code)?;
            write_command_request(&message, &mut code)?;
        }
    }
    Ok(code)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "both are messages or of no interest")]
fn write_command_request(message: &MessageDescriptor, code: &mut String) -> std::fmt::Result {
    let field_type = |name: &str| match message.get_field_by_name(name)?.kind() {
        Kind::Message(field_type) => Some(field_type.name().to_owned()),
        _ => None,
    };
    let (Some(context), Some(event)) = (field_type("context"), field_type("event")) else {
        return Ok(());
    };
    if !["CommandContext", "ResourceContext", "OrganisationContext"].contains(&context.as_str()) {
        return Ok(());
    }
    writeln!(
        code,
        "impl CommandRequest for v1::{} {{\n    type Event = v1::{event};\n    fn into_parts(self) -> (Option<Context>, Option<Self::Event>) {{\n        (self.context.map(Into::into), self.event)\n    }}\n}}",
        message.name()
    )
}

impl Options {
    fn write_message(&self, message: &MessageDescriptor, code: &mut String) -> std::fmt::Result {
        let mut body = String::new();
        for field in message.fields().filter(|field| field.containing_oneof().is_none()) {
            self.write_field(&field, &mut body)?;
        }
        for oneof in message.oneofs() {
            self.write_oneof(&oneof, &mut body)?;
        }
        let names_nobody = match message.name() {
            "Organisation" => "are_blank(&[&self.id, &self.name])",
            "Participant" => {
                "are_blank(&[&self.role, &self.person, &self.name])\n            && self.organisation.as_ref().is_none_or(Check::names_nobody)"
            }
            _ => "",
        };
        let names_nobody = if names_nobody.is_empty() {
            String::new()
        } else {
            format!("    fn names_nobody(&self) -> bool {{\n        {names_nobody}\n    }}\n")
        };
        let (at, violations) = if body.is_empty() { ("_", "_") } else { ("at", "violations") };
        writeln!(
            code,
            "impl Check for v1::{} {{\n    fn check(&self, {at}: &Path<'_>, {violations}: &mut Vec<Violation>) {{\n{body}    }}\n{names_nobody}}}",
            message.name()
        )
    }

    fn write_field(&self, field: &FieldDescriptor, body: &mut String) -> std::fmt::Result {
        let must = self.must(field);
        let name = field.name();
        let place = format!("self.{}", identifier(name));
        let at = format!("&at.field({name:?}), violations");
        if field.is_map() {
            return Ok(());
        }
        if field.cardinality() == Cardinality::Repeated {
            writeln!(body, "        {}.list(&{place}, {at});", must.literal())?;
            if let Some(check) =
                must.value_check(field, ("item", "*item"), "&at.item(index), violations")
            {
                writeln!(
                    body,
                    "        for (index, item) in {place}.iter().enumerate().take({}) {{\n            if violations.len() >= VIOLATIONS_MAX {{\n                break;\n            }}\n            let at = at.field({name:?});\n            {check}\n        }}",
                    if must.max_items == 0 {
                        "usize::MAX".to_owned()
                    } else {
                        must.max_items.to_string()
                    }
                )?;
            }
        } else if let Kind::Message(message) = field.kind() {
            if message.package_name() == PACKAGE {
                writeln!(body, "        {}.message({place}.as_ref(), {at});", must.literal())?;
                if !must.code_set.is_empty() {
                    writeln!(
                        body,
                        "        if let Some(code) = &{place} {{ {}.known_code(code, {at}); }}",
                        must.literal()
                    )?;
                }
                if must.given && is_code(field) {
                    writeln!(body, "        said({place}.as_ref(), {at});")?;
                }
            } else if must.given {
                writeln!(body, "        {}.presence({place}.is_some(), {at});", must.literal())?;
            }
        } else if field.supports_presence() {
            if let Some(check) = must.value_check(field, ("value", "*value"), &at) {
                writeln!(body, "        if let Some(value) = &{place} {{ {check} }}")?;
            }
        } else if let Some(check) = must.value_check(field, (&format!("&{place}"), &place), &at) {
            writeln!(body, "        {check}")?;
        }
        Ok(())
    }

    fn write_oneof(&self, oneof: &OneofDescriptor, body: &mut String) -> std::fmt::Result {
        let proto3_optional = oneof.fields().len() == 1 && oneof.name().starts_with('_');
        if proto3_optional {
            for field in oneof.fields() {
                self.write_field(&field, body)?;
            }
            return Ok(());
        }
        let place = format!("self.{}", identifier(oneof.name()));
        let enumeration = format!(
            "v1::{}::{}",
            snake_case(oneof.parent_message().name()),
            camel_case(oneof.name())
        );
        if oneof.options().get_extension(&self.must_be_chosen).as_bool() == Some(true) {
            writeln!(
                body,
                "        Must::GIVEN.presence({place}.is_some(), &at.field({:?}), violations);",
                oneof.name()
            )?;
        }
        writeln!(body, "        match &{place} {{\n            None => {{}}")?;
        for field in oneof.fields() {
            let at = format!("&at.field({:?}), violations", field.name());
            let check = self.must(&field).value_check(&field, ("value", "*value"), &at);
            let (binding, check) = match check {
                Some(check) => ("value", check),
                None => ("_", String::new()),
            };
            // Of the alternatives, one must be chosen: so it must say something.
            let said = if is_code(&field) {
                format!(" said(Some({binding}), {at});")
            } else {
                String::new()
            };
            writeln!(
                body,
                "            Some({enumeration}::{}({binding})) => {{ {check}{said} }}",
                camel_case(field.name())
            )?;
        }
        writeln!(body, "        }}")
    }

    fn must(&self, field: &FieldDescriptor) -> Must {
        if let Value::Message(must) = field.options().get_extension(&self.must).as_ref() {
            Must::read(must)
        } else {
            Must::default()
        }
    }
}

/// The schema's `care.v1.Must`.
#[derive(Default)]
struct Must {
    given: bool,
    form: i32,
    max_chars: u32,
    max_bytes: u32,
    max_items: u32,
    max_value: u32,
    code_set: String,
    numbered_by_system: bool,
}

impl Must {
    fn read(must: &DynamicMessage) -> Self {
        let number = |name| must.get_field_by_name(name).and_then(|v| v.as_u32()).unwrap_or(0);
        let flag = |name| must.get_field_by_name(name).and_then(|v| v.as_bool()).unwrap_or(false);
        Self {
            given: flag("given"),
            form: must.get_field_by_name("form").and_then(|v| v.as_enum_number()).unwrap_or(0),
            max_chars: number("max_chars"),
            max_bytes: number("max_bytes"),
            max_items: number("max_items"),
            max_value: number("max_value"),
            code_set: must
                .get_field_by_name("code_set")
                .and_then(|set| set.as_str().map(str::to_owned))
                .unwrap_or_default(),
            numbered_by_system: flag("numbered_by_system"),
        }
    }

    /// A constraint that is not checked would be a promise that is not kept.
    #[expect(clippy::wildcard_enum_match_arm, reason = "other kinds have no constraints")]
    fn fits(&self, field: &FieldDescriptor) -> Result<(), String> {
        let of_text = self.form != 0 || self.max_chars != 0;
        let (of_bytes, of_number) = (self.max_bytes != 0, self.max_value != 0);
        let of_code = !self.code_set.is_empty();
        let is_list = field.is_list() || field.is_map();
        if self.numbered_by_system && (is_list || field.containing_oneof().is_some()) {
            return Err(format!(
                "a list or an alternative, {}, is numbered by no system",
                field.full_name()
            ));
        }
        let fits = match field.kind() {
            Kind::Message(message) if of_code => message.name() == "Code" && !of_text,
            _ if of_code => false,
            Kind::String => !of_bytes && !of_number,
            Kind::Bytes => !of_text && !of_number,
            Kind::Uint32 => !of_text && !of_bytes,
            Kind::Enum(_) | Kind::Message(_) => !of_text && !of_bytes && !of_number,
            _ => !self.given && !of_text && !of_bytes && !of_number,
        };
        if fits && (is_list || self.max_items == 0) && !(field.is_map() && self.given) {
            return Ok(());
        }
        Err(format!("`must` of {} cannot be checked for its kind", field.full_name()))
    }

    fn literal(&self) -> String {
        let Self { given, form, max_chars, max_bytes, max_items, max_value, .. } = self;
        let Self { code_set, numbered_by_system, .. } = self;
        format!(
            "Must {{ given: {given}, form: {form}, max_chars: {max_chars}, max_bytes: {max_bytes}, max_items: {max_items}, max_value: {max_value}, code_set: {code_set:?}, numbered_by_system: {numbered_by_system} }}"
        )
    }

    /// The check of one value, borrowed or copied, if there is anything to check.
    #[expect(clippy::wildcard_enum_match_arm, reason = "other kinds have no constraints")]
    fn value_check(
        &self,
        field: &FieldDescriptor,
        (borrowed, copied): (&str, &str),
        at: &str,
    ) -> Option<String> {
        let must = self.literal();
        match field.kind() {
            Kind::String if self.given || self.form != 0 || self.max_chars != 0 => {
                Some(format!("{must}.text({borrowed}, {at});"))
            }
            Kind::Bytes if self.given || self.max_bytes != 0 => {
                Some(format!("{must}.bytes({borrowed}, {at});"))
            }
            Kind::Uint32 if self.given || self.max_value != 0 => {
                Some(format!("{must}.number({copied}, {at});"))
            }
            Kind::Enum(enumeration) => {
                Some(format!("{must}.code::<v1::{}>({copied}, {at});", enumeration.name()))
            }
            Kind::Message(message) if message.package_name() == PACKAGE => {
                let of_set = if self.code_set.is_empty() {
                    String::new()
                } else {
                    format!(" {must}.known_code({borrowed}, {at});")
                };
                let named = if self.given && field.is_list() {
                    format!(" named({borrowed}, {at});")
                } else {
                    String::new()
                };
                Some(format!("Check::check({borrowed}, {at});{of_set}{named}"))
            }
            _ => None,
        }
    }
}

/// Whether a field is a code out of a code set, which may be there and say nothing.
#[expect(clippy::wildcard_enum_match_arm, reason = "all others are none")]
fn is_code(field: &FieldDescriptor) -> bool {
    match field.kind() {
        Kind::Message(message) => message.full_name() == "care.v1.Code",
        _ => false,
    }
}

pub(crate) fn identifier(name: &str) -> String {
    match name {
        "type" | "use" => format!("r#{name}"),
        _ => name.to_owned(),
    }
}

pub(crate) fn camel_case(name: &str) -> String {
    name.split('_')
        .flat_map(|word| {
            word.chars()
                .next()
                .map(|c| c.to_ascii_uppercase())
                .into_iter()
                .chain(word.chars().skip(1))
        })
        .collect()
}

pub(crate) fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for (index, letter) in name.chars().enumerate() {
        if letter.is_ascii_uppercase() && index > 0 {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}
