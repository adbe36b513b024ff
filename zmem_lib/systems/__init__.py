"""Who answers, and how: the systems, and what they work with."""
