# The service in an image: built from the hashed package lists, run by an unprivileged user, without build tools.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build

# Packages first: this layer is built anew only when the lists change. pip and setuptools stay in /build/tools.
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN python -m venv tools \
    && tools/bin/pip install --require-hashes -r requirements/build.txt \
    && python -m venv --without-pip /opt/liuzhang \
    && tools/bin/pip --python /opt/liuzhang/bin/python install --require-hashes -r requirements/runtime.txt

COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY migrations migrations
COPY seed seed
RUN tools/bin/pip wheel --no-deps --no-build-isolation --no-index -w dist . \
    && tools/bin/pip --python /opt/liuzhang/bin/python install --no-deps --no-index dist/*.whl

FROM python:${PYTHON}-slim
# The ids are fixed so that the owner of a mounted /data can be named from outside.
RUN groupadd --gid 10001 liuzhang \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin liuzhang \
    && install -d -o liuzhang -g liuzhang -m 0700 /data
COPY --from=builder /opt/liuzhang /opt/liuzhang

# /data is used by the embedded PostgreSQL only, i.e. without LIUZHANG_DATABASE_URL.
ENV PATH=/opt/liuzhang/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    LIUZHANG_HOST=0.0.0.0 \
    LIUZHANG_PORT=8000 \
    LIUZHANG_DATA_DIR=/data
USER 10001:10001
EXPOSE 8000
# Without the proxies that the environment may name for the way out.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:' + os.environ['LIUZHANG_PORT'] + '/health/ready', timeout=4)"]
ENTRYPOINT ["liuzhang"]
CMD ["serve"]
