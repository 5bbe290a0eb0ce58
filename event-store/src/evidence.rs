//! Evidence against tampering: whoever kept a checkpoint, or has a proof, can tell whether the
//! log still says what it said.
//!
//! Checksums find accidents; whoever can write the log can write its checksums too. So each slot
//! has a Merkle tree over its events (`merkle`, `leaf`), and its root is signed from time to time
//! with the region's key (`note`, `checkpoint`). Changing, leaving out, exchanging or re-dating
//! any event changes every later root.
//!
//! On disk, beside the log:
//!
//! | file                | what                                                             |
//! |---------------------|------------------------------------------------------------------|
//! | `signing.key`       | the secret key; see `key_file`                                   |
//! | `checkpoints.txt`   | signed checkpoints; see `checkpoint_file`. Cannot be made again  |
//! | `log/tree/*.tree`   | how far the trees are; see `tree_file`. Made again from the log  |
//!
//! What must stay true: no tree is ever signed that does not contain the one signed before; all
//! of this happens off the acknowledgement path; of a tree, only its frontier is in memory.
//!
//! What was found without anything signed of it is remarked for ever (`history`).
//!
//! What it cannot do: whoever has the secret key can sign another history. That is found by
//! comparing with checkpoints that somebody else keeps.

pub mod accept;
mod archive;
pub mod audit;
pub mod checkpoint;
pub mod checkpoint_file;
pub mod growth;
pub mod history;
pub mod key_file;
pub mod leaf;
pub mod merkle;
pub(crate) mod notary;
pub mod note;
pub mod problem;
pub mod proof;
pub mod prove;
pub mod tree_file;
pub mod trees;
