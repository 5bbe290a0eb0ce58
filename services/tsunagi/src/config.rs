//! `tsunagi config`: every setting, its value, where that comes from, and what it means.

use tsunagi_chassis::config::{Origin, SETTINGS, Values, variable_name};

use crate::output::{leave_a_line, say};

pub(crate) fn list(values: &Values) {
    say(
        "# A flag wins over the environment, the environment over the file, the file over the default.",
    );
    for setting in SETTINGS {
        let Some((value, origin)) = values.get(setting.name) else { continue };
        let origin = match origin {
            Origin::Flag => "flag",
            Origin::Environment => "environment",
            Origin::File => "file",
            Origin::Default => "default",
        };
        let (name, help) = (setting.name, setting.help);
        let default = setting.default;
        leave_a_line();
        say(format_args!("# {help}."));
        say(format_args!(
            "# --{name}, {}; default {default}; now from: {origin}",
            variable_name(name)
        ));
        let is_bare = value.parse::<i64>().is_ok() || value.parse::<bool>().is_ok();
        if is_bare {
            say(format_args!("{name} = {value}"));
        } else {
            say(format_args!("{name} = {value:?}"));
        }
    }
}
