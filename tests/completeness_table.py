"""x"""

ROWS = Reported = table_in_documents = None
