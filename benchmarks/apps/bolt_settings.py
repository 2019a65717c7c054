"""Owns the smallest Django settings that run the Django-Bolt application."""

DEBUG = False
SECRET_KEY = "benchmarks only: signs nothing"
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["django_bolt"]
BOLT_API = ["benchmarks.apps.bolt_app:api"]
