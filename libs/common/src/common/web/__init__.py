"""What HTTP services need beyond `common`: FastAPI, problems, security, transactions, SQLAlchemy sessions.

Worker and scheduler never import it, and nothing in `common` itself does.
"""
