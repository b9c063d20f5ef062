"""Extensions: packages of others, and what the commands make of them."""
