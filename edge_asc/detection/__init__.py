"""Sound events: when a label's probability in a stream is an event with a start and an end."""
