//! The cell's truth, tested from outside: commit tables, a slow reference model, pinned bytes.

#[cfg(test)]
mod bytes;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod model;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod same;
#[cfg(test)]
mod scoped;
#[cfg(test)]
mod script;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod words;
