// The same requests on Node: Fastify with schemas for its serializer, and pg with prepared statements and a pool of 16.
// It verifies no token. DATABASE_URL and PORT say where.
import Fastify from 'fastify'
import pg from 'pg'

const BIGINT = 20
const NUMERIC = 1700
pg.types.setTypeParser(BIGINT, Number)
pg.types.setTypeParser(NUMERIC, Number)

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 16 })
const app = Fastify({ logger: false })

const nullable = (type) => ({ type: [type, 'null'] })
const time = { type: 'string', format: 'date-time' }
const fields = {
  name: { type: 'string', minLength: 1, maxLength: 200 },
  description: { type: 'string' },
  price: { type: 'number', exclusiveMinimum: 0 },
  currency: { type: 'string' },
  category: { type: 'string' },
  brand: nullable('string'),
  sku: nullable('string'),
  stock: nullable('integer'),
  image_url: nullable('string'),
  attributes: { type: 'object', additionalProperties: true }
}
const Product = {
  type: 'object',
  properties: {
    id: { type: 'integer' },
    ...fields,
    source: nullable('string'),
    external_id: nullable('string'),
    version: { type: 'integer' },
    created_at: time,
    updated_at: time,
    synced_at: { ...time, nullable: true },
    pinned: { type: 'array', items: { type: 'string' } }
  }
}
const ProductList = {
  type: 'object',
  properties: {
    items: { type: 'array', items: Product },
    total: { type: 'integer' },
    skip: { type: 'integer' },
    limit: { type: 'integer' }
  }
}
const params = { type: 'object', properties: { id: { type: 'integer', minimum: 1 } } }
const querystring = {
  type: 'object',
  properties: {
    skip: { type: 'integer', minimum: 0, default: 0 },
    limit: { type: 'integer', minimum: 1, maximum: 500, default: 100 },
    after: { type: 'integer', minimum: 0, default: 0 }
  }
}

const names = Object.keys(fields)
const columns = Object.keys(Product.properties).join(', ')
const byId = `SELECT ${columns} FROM reference.products WHERE id = $1 AND deleted_at IS NULL`
const page = `SELECT ${columns} FROM reference.products WHERE deleted_at IS NULL AND id > $1 ORDER BY id OFFSET $2 LIMIT $3`
const count = 'SELECT count(*) AS total FROM reference.products WHERE deleted_at IS NULL'
const insert = `INSERT INTO reference.products (${names}) VALUES (${names.map((_, index) => `$${index + 1}`)}) RETURNING ${columns}`
const update = `UPDATE reference.products SET name = coalesce($2, name), description = coalesce($3, description),
  price = coalesce($4, price), stock = coalesce($5, stock), version = version + 1, updated_at = now()
  WHERE id = $1 AND deleted_at IS NULL RETURNING ${columns}`

// A statement with a name is prepared once for each connection.
const query = async (name, text, values) => (await pool.query({ name, text, values })).rows

app.get('/products/:id', { schema: { params, response: { 200: Product } } }, async (request, reply) => {
  const [product] = await query('by-id', byId, [request.params.id])
  if (product === undefined) return reply.code(404).send({ detail: 'Product not found' })
  const tag = `"${product.id}-${product.version}"`
  reply.header('etag', tag)
  return request.headers['if-none-match'] === tag ? reply.code(304).send() : product
})

app.get('/products', { schema: { querystring, response: { 200: ProductList } } }, async (request) => {
  const { skip, limit, after } = request.query
  const [[{ total }], items] = await Promise.all([query('count', count, []), query('page', page, [after, skip, limit])])
  return { items, total, skip, limit }
})

const created = { body: { type: 'object', properties: fields, required: ['name', 'description', 'price', 'category'] } }
app.post('/products', { schema: { ...created, response: { 201: Product } } }, async (request, reply) => {
  const product = { currency: 'USD', attributes: {}, ...request.body }
  const [row] = await query('insert', insert, names.map((name) => product[name] ?? null))
  return reply.code(201).send(row)
})

const changed = { params, body: { type: 'object', properties: fields } }
app.put('/products/:id', { schema: { ...changed, response: { 200: Product } } }, async (request, reply) => {
  const { name, description, price, stock } = request.body
  const [product] = await query('update', update, [request.params.id, name, description, price, stock])
  return product ?? reply.code(404).send({ detail: 'Product not found' })
})

process.on('SIGTERM', () => process.exit(0))
await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) })
