//! SS-MIX2 storages: what a hospital system writes to a folder for itself is its feed, and
//! nothing has to be changed in it.
//!
//! Two kinds of files are read under one folder: transaction files (`TR_*.DAT`), to which
//! messages are appended with `INS` or `DEL`, and the files of a standard storage, one message
//! each, whose names end in a condition flag. Both may lie there, of the same hospital or of
//! others. What must stay true: the cursor is only ever behind the log, so that a message may
//! be taken again, and none is passed over, however late its file comes or can be read.

mod cursor;
mod reader;
mod storage;
mod told;
mod transaction;

pub use reader::Reader;
