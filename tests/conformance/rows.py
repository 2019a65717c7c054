"""x"""
REQUIRED = []
EXCLUDED = {}
