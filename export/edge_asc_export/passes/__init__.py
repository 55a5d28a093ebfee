"""The passes that formats choose from: one module each, whose `PASS` states what it needs and why it is exact."""
