//! Commands and the events that report them, declared side by side.

/// Declares `Command` and `Event` with one line for each pair, and how an accepted command
/// becomes its event. Read `Admit => Admitted(Admission)` as: who orders `Admit` and is not
/// refused causes `Admitted`, with the same content.
macro_rules! commands_and_events {
    ($($(#[$doc:meta])* $command:ident => $event:ident($content:ty)),* $(,)?) => {
        /// What somebody wants to have happened.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Command { $($(#[$doc])* $command($content)),* }

        /// What happened.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Event { $($(#[$doc])* $event($content)),* }

        impl From<Command> for Event {
            fn from(command: Command) -> Self {
                match command { $(Command::$command(content) => Self::$event(content)),* }
            }
        }

        /// What would have to be ordered for the event to happen again.
        impl From<Event> for Command {
            fn from(event: Event) -> Self {
                match event { $(Event::$event(content) => Self::$command(content)),* }
            }
        }
    };
}

pub(crate) use commands_and_events;
