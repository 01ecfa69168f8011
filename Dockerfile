# One image for all roles: docker run whorl ingest | worker | server | migrate | …
# There is no build step: Node runs the TypeScript as it is. Start it with an init (`docker run --init`, or `init: true` in
# compose), so that a stop reaches the process and its children are reaped. Health checks belong to the role, not to the
# image: see docker-compose.yml.
FROM node:24-slim

# Temporal's client is native code and takes the system's certificates, which the slim image does not have.
RUN apt-get update \
  && apt-get install --yes --no-install-recommends ca-certificates \
  && rm -rf /var/lib/apt/lists/*

ENV NODE_ENV=production
# A worker that brings a long log home makes much short-lived data; without a bound V8 lets its nursery grow to 128 MB.
# The other bound, of each thread, is far above what is in use: V8 cleans up sooner when it is told of a small heap.
ENV NODE_OPTIONS="--max-semi-space-size=8 --max-old-space-size=256"
# Temporal's client has many threads, and glibc would give each an arena that keeps what it once held.
ENV MALLOC_ARENA_MAX=2
WORKDIR /app

# Packages first: they change less often than the source, and this layer is the large one.
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --no-audit --no-fund && npm cache clean --force

COPY LICENSE ./
COPY temporal ./temporal
COPY src ./src

USER node
# Loads once what a role loads, and keeps what V8 and the stripper of types made of it: each start is quicker, and each
# role takes some 25 MB less.
ENV NODE_COMPILE_CACHE=/home/node/.cache/whorl
RUN node -e "Promise.all(['cli/run', 'roles/worker', 'roles/ingest'].map((name) => import('/app/src/' + name + '.ts')))"
EXPOSE 8080 8081 8082
ENTRYPOINT ["node", "src/main.ts"]
CMD ["--help"]
