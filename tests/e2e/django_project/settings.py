"""The settings of a small Django project, for the tests of the app."""

import os

SECRET_KEY = "of a test"
DEBUG = False
ALLOWED_HOSTS = ["testserver"]
ROOT_URLCONF = "shop.urls"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "palaver.producer.django",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["SHOP_DATABASE"]}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

if urls := os.environ.get("SHOP_CHAT_URLS", "shop.chat_urls"):
    DJANGO_AI_CHAT_URLS = urls

DJANGO_AI_PUSHER = {
    "KEY": "pusher-key",
    "SECRET": "pusher-hush-hush",
    "APP_ID": "4711",
    "CLUSTER": "us2",
    "URL": os.environ["SHOP_PUSHER"],
}
SAAS_AI = {"TEXT_EXTRACTOR": "shop.extractors.CustomExtractor"}
