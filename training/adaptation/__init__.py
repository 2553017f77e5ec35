"""What adapting a survey is made of: pairs, candidates, training, and the choice among them."""
