"""What people look at: tables, figures, sentences, slides, the book."""
