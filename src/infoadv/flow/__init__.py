"""Information profiles of adversarial inputs: a reconstruction (:mod:`infoadv.flow.profiles`)."""
