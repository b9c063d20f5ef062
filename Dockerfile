# The `sightline` and `device-sim` commands with what they need to run; see docker-compose.yml.

FROM python:3.11-slim AS dependencies
WORKDIR /build
# The lock file also holds what builds the package. All of it is fetched and its hashes are checked; pip then takes from these
# files, and from nowhere else, what the package declares for its commands, so the image has the tested versions and no more.
COPY requirements.lock ./
RUN pip download --quiet --disable-pip-version-check --no-cache-dir --require-hashes --only-binary :all: \
        --dest wheels --requirement requirements.lock
COPY pyproject.toml ./
# The outer pip fills an environment that has no pip or setuptools of its own.
RUN python -m venv --without-pip /opt/sightline \
    && python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; e = p["optional-dependencies"]; print(*p["dependencies"], *e["worker"], *e["broker"], *e["page"], sep="\n")' >runtime.txt \
    && pip --quiet --disable-pip-version-check --python /opt/sightline/bin/python \
        install --no-cache-dir --no-index --find-links wheels --requirement runtime.txt

# Beside the dependencies, so that a change of ours makes a small layer.
FROM dependencies AS package
COPY README.md LICENSE ./
COPY device_sim device_sim
COPY streams streams
RUN pip --quiet --disable-pip-version-check --python /opt/sightline/bin/python \
        install --no-cache-dir --no-index --find-links wheels --no-deps --prefix /opt/package .

FROM python:3.11-slim
# /data is where the commands look for and leave things. The user by number: so an orchestrator can see that it is not root.
RUN useradd --uid 1000 --create-home sightline && install --directory --owner sightline /data
COPY --from=dependencies /opt/sightline /opt/sightline
COPY --from=package /opt/package /opt/sightline
ENV PATH=/opt/sightline/bin:$PATH
USER 1000
WORKDIR /data
CMD ["sightline", "--help"]
