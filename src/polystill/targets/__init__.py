"""Training targets that a teacher writes: Seq-KD and Seq-Inter (Kim & Rush 2016, sections 3.2 and 3.3)."""
