//! Cells of real processes: what people do, what may go wrong, what strangers send, and what the documents show.

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod bad_certificates;
#[cfg(test)]
mod bad_data;
#[cfg(test)]
mod bad_frames;
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod cut_off;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod everyday;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod fields;
#[cfg(test)]
mod given;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod races;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod services;
#[cfg(test)]
mod talking;
#[cfg(test)]
mod usage;
#[cfg(test)]
mod views;
