# One image for all roles: docker run whorl ingest | worker | server | migrate | …
# There is no build step: Node runs the TypeScript as it is. Start it with an init (`docker run --init`, or `init: true` in
# compose), so that a stop reaches the process and its children are reaped.

# --- Packages: npm and its cache stay behind ---
FROM node:24.21.0-slim AS packages
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --no-audit --no-fund

# --- The image ---
FROM node:24.21.0-slim

# Temporal's client is native code and takes the system's certificates, which the slim image does not have.
RUN apt-get update \
  && apt-get install --yes --no-install-recommends ca-certificates \
  && rm -rf /var/lib/apt/lists/* /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /opt/yarn*

ENV NODE_ENV=production
# A worker that brings a long log home makes much short-lived data; without a bound V8 lets its nursery grow to 128 MB.
# The other bound, of each thread, is far above what is in use: V8 cleans up sooner when it is told of a small heap.
ENV NODE_OPTIONS="--max-semi-space-size=8 --max-old-space-size=256"
# Temporal's client has many threads, and glibc would give each an arena that keeps what it once held.
ENV MALLOC_ARENA_MAX=2
WORKDIR /app

# Packages first: they change less often than the source, and this layer is the large one.
COPY --from=packages /app/node_modules ./node_modules
COPY package.json LICENSE ./
COPY temporal ./temporal
COPY src ./src

USER node
# Loads once what a role loads, and keeps what V8 and the stripper of types made of it: each start is quicker, and each
# role takes some 25 MB less.
ENV NODE_COMPILE_CACHE=/home/node/.cache/whorl
RUN node -e "Promise.all(['cli/run', 'roles/worker', 'roles/ingest'].map((name) => import('/app/src/' + name + '.ts')))"
EXPOSE 8080 8081 8082
# Whichever role it is, one of these answers; compose asks the one that it knows.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "-e", "Promise.any([8080, 8081, 8082].map(async (port) => { const { ok } = await fetch(`http://127.0.0.1:${port}/healthz`); if (!ok) throw new Error(port); })).then(() => process.exit(0), () => process.exit(1))"]
ENTRYPOINT ["node", "src/main.ts"]
CMD ["--help"]
